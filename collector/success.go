// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// successFamily is probe_success, which every exporter that takes its target from the request has by convention. It
// is the same as consul_up, and there whichever collectors run.
type successFamily struct{ success *desc }

func newSuccessFamily(define *definitions) *successFamily {
	return &successFamily{define.gauge("probe_success", "Whether the HTTP API of the target answered (1) or not (0). "+
		"Absent when the exporter could not query it for a reason of its own.")}
}

// start begins to fetch it, and returns what adds the family when the collectors are done. A nil family adds nothing.
func (f *successFamily) start(snap *cluster.Snapshot) (add func(context.Context, *families)) {
	if f == nil {
		return func(context.Context, *families) {}
	}
	up := snap.Up()
	return func(ctx context.Context, out *families) {
		ok, err := up.Get(ctx) // An error is no answer.
		if !probe.IsOwnFault(err) {
			out.flag(f.success, ok)
		}
	}
}
