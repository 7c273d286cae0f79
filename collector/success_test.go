// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

func TestSuccess(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporterWith(func(_ *cluster.Options, opts *Options) { opts.Success = true })
	expect := func(want float64, names ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		all := gather(ctx, t, e, names)
		expectValue(t, all, want, "probe_success")
		if up, ok := value(all, "consul_up"); ok && up != want {
			t.Errorf("consul_up is %v; want %v as probe_success", up, want)
		}
	}
	expect(1, "agent", "raft")
	expect(1, "ports")
	// A collector that uses up the scrape's time changes nothing about the agent.
	release := make(chan struct{})
	e.collectors = append(e.collectors, namedCollector{"stubborn", stubborn(func(context.Context, *families) error {
		<-release
		return nil
	})})
	for range 4 {
		expect(1, "stubborn")
	}
	close(release)
	f.api.Close()
	expect(0, "agent", "raft")
	expect(0, "ports")

	expectAbsent(t, gatherAll(t, f.exporter(nil)), "probe_success")
}
