// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// successFamily is probe_success, which every exporter that takes its target from the request has by convention. It is the
// same as consul_up, and there whichever collectors run.
type successFamily struct{ success *desc }

func newSuccessFamily(define *definitions) *successFamily {
	return &successFamily{define.gauge("probe_success", "Whether the HTTP API of the target answered (1) or not (0).")}
}

// start begins to find out, under the context of the snapshot, and returns what adds the family when the collectors are done. A
// nil family adds nothing.
func (f *successFamily) start(facts context.Context, snap *cluster.Snapshot) (add func(context.Context, *families)) {
	if f == nil {
		return func(context.Context, *families) {}
	}
	answered := make(chan bool, 1)
	up := snap.Up()
	go func() {
		ok, _ := up.Get(facts) // An error is no answer.
		answered <- ok
	}()
	return func(ctx context.Context, out *families) {
		ok := false
		select {
		case ok = <-answered: // Counts also when a collector has used up all the time.
		default:
			select {
			case ok = <-answered:
			case <-ctx.Done():
			}
		}
		out.flag(f.success, ok)
	}
}
