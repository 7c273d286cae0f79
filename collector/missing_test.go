// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"path/filepath"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// A server that Consul no longer names stays, also for an exporter that is started later, and one that starts while the
// agent is gone knows all of them.
func TestMissing(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	path := filepath.Join(t.TempDir(), "state.json")
	start := func() (*Exporter, *memory.Memory) {
		m := must.Get(memory.Open(path, memory.Options{}))(t)
		return f.exporterWith(func(c *cluster.Options, opts *Options) {
			c.Remembered, opts.Memory = m.Remembered, m
		}), m
	}
	e, m := start()
	all := gatherAll(t, e)
	expectAbsent(t, all, "consul_server_missing_since_timestamp_seconds")
	expectValue(t, all, 0, "consul_cluster_missing_voters")
	expectValue(t, all, 1, "consul_exporter_state_file_ok")

	two := (&fakeConsul{t: t, api: f.api, servers: f.servers[:2]}).answers()
	for _, path := range []string{"/v1/agent/members", "/v1/operator/raft/configuration", "/v1/operator/autopilot/state"} {
		f.answerWith(path, two[path])
	}
	for _, s := range f.servers[:2] {
		s.status.peers = s.status.peers[:2]
	}
	expectMissing := func(e *Exporter) {
		t.Helper()
		all := gatherAll(t, e)
		for _, family := range []string{
			"consul_server_info", "consul_server_missing_since_timestamp_seconds", "consul_port_up",
		} {
			if _, ok := value(all, family, "server", "server-3"); !ok {
				t.Errorf("%s of the missing server is missing", family)
			}
		}
		if _, ok := value(all, "consul_server_missing_since_timestamp_seconds", "id", "id-3", "how", "gone"); !ok {
			t.Error("how it went is not gone")
		}
		expectValue(t, all, 2, "consul_cluster_voters")
		expectValue(t, all, 3, "consul_cluster_expected_voters")
		expectValue(t, all, 1, "consul_cluster_missing_voters")
		// Those that are left have not heard of it yet.
		expectValue(t, all, 1, "consul_cluster_raft_configurations")
	}
	expectMissing(e)
	expectMissing(e)
	must.Do(t, m.Close())
	e, m = start()
	expectMissing(e)
	must.Do(t, m.Close())

	f.api.Close()
	e, m = start()
	defer m.Close()
	all = gatherAll(t, e)
	expectValue(t, all, 0, "consul_up")
	expectValue(t, all, 2, "consul_cluster_voters")
	expectValue(t, all, 1, "consul_cluster_leaders")
	expectValue(t, all, 1, "consul_cluster_missing_voters")
	expectValue(t, all, 1, "consul_port_up", "server", "server-2", "protocol", "rpc")
}
