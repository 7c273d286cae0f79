// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Learn has what a scrape has found remembered, adds to it what is remembered from earlier ones, and judges both.
func Learn(e *inputs.Evidence, remembered *memory.Memory) verdict.Verdict {
	remembered.Learn(e)
	e.Standing = standing(e, remembered)
	return verdict.Judge(e)
}

// standing is since when the leader's log stands still, by this scrape and what is remembered from earlier ones.
func standing(e *inputs.Evidence, remembered *memory.Memory) inputs.Standing {
	log := verdict.JudgeLog(e)
	return remembered.Standing(log.Leader, log.Last, log.Committed, e.At)
}
