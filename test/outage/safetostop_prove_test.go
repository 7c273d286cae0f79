// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package outage_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// TestProveSafeToStop makes hundreds of states of clusters of three and five servers, asks in each whether one of the
// servers can be stopped, and stops it if the answer is yes.
func TestProveSafeToStop(t *testing.T) {
	const states = 300
	counts := playStates(t, proof.Random(t).Uint64(), states, 6, append(easyFaults, faultStalled, faultStalled))
	proof.Record(t, "states", states)
	for _, answer := range []verdict.Answer{verdict.AnswerYes, verdict.AnswerNo, verdict.AnswerUnknown} {
		proof.Record(t, "answers "+string(answer), counts[answer])
	}
	if yes := counts[verdict.AnswerYes]; yes < states*3/10 {
		t.Errorf("%d of %d answers are yes; want 30 %% at least", yes, states)
	}
}
