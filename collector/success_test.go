// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

func TestSuccess(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporterWith(func(_ *cluster.Options, opts *Options) { opts.Success = true })
	success := func(names ...string) float64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		all := gather(ctx, t, e, names)
		problems, err := promlint.NewWithMetricFamilies(all).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("promlint says %v, %v", problems, err)
		}
		v, ok := value(all, "probe_success")
		if !ok {
			t.Error("probe_success is absent")
		}
		if up, ok := value(all, "consul_up"); ok && up != v {
			t.Errorf("probe_success is %v and consul_up %v; want the same", v, up)
		}
		return v
	}
	if success("agent", "raft") != 1 || success("ports") != 1 {
		t.Error("probe_success is 0; want 1 whichever collectors run")
	}
	// A collector that uses up the scrape's time changes nothing about the agent.
	release := make(chan struct{})
	e.collectors = append(e.collectors, namedCollector{"stubborn", stubborn(func(context.Context, *families) error {
		<-release
		return nil
	})})
	for range 4 {
		if success("stubborn") != 1 {
			t.Error("probe_success is 0 because of a collector that hangs; want 1")
		}
	}
	close(release)
	f.api.Close()
	if success("agent", "raft") != 0 || success("ports") != 0 {
		t.Error("probe_success is 1 without an agent; want 0")
	}

	if _, ok := value(gatherAll(t, f.exporter(nil)), "probe_success"); ok {
		t.Error("probe_success is there without being asked for")
	}
}
