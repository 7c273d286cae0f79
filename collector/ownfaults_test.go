// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// A probe that could not be made is skipped and counted, and says nothing about the port or the voter, while all that
// could be asked is there; once it can be made, everything is as if nothing had been.
func TestOwnFaults(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var short atomic.Bool // Of descriptors for the third server.
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if short.Load() && address == f.servers[2].address {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	e := f.exporterWith(func(opts *cluster.Options, _ *Options) { opts.Prober = probe.New(probe.Options{Dial: dial}) })
	gatherAll(t, e)
	short.Store(true)
	all := gatherAll(t, e)
	rpc := []string{"server", "server-3", "protocol", "rpc"}
	expectValue(t, all, 1, "consul_port_probe_skipped", append(rpc, "reason", "own_fault")...)
	for _, family := range []string{
		"consul_port_up", "consul_port_protocol_verified", "consul_port_probes_total", "consul_port_probe_failures_total",
		"consul_port_probe_duration_seconds",
	} {
		expectAbsent(t, all, family, rpc...)
	}
	expectValue(t, all, 1, "consul_port_up", "server", "server-1", "protocol", "rpc")
	expectValue(t, all, 1, "consul_up")
	expectValue(t, all, 3, "consul_cluster_voters")
	expectValue(t, all, 2, "consul_cluster_voters_state", "state", "answering")
	for state, want := range map[string]float64{"answering": 2, "lost": 0, "unknown": 1} {
		expectValue(t, all, want, "consul_cluster_voters_state", "state", state)
	}
	expectAbsent(t, all, "consul_cluster_failure_margin")
	expectValue(t, all, 1, "consul_cluster_leaders")
	if v, ok := value(all, "consul_exporter_own_faults_total", "kind", "probe"); !ok || v < 1 {
		t.Errorf("%v own faults are counted (there: %v); want 1 at least", v, ok)
	}
	expectValue(t, all, 0, "consul_exporter_own_faults_total", "kind", "request")

	short.Store(false)
	all = gatherAll(t, e)
	expectValue(t, all, 1, "consul_port_up", rpc...)
	expectValue(t, all, 1, "consul_cluster_failure_margin")
	expectValue(t, all, 0, "consul_cluster_voters_state", "state", "unknown")
}
