// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// connectionLimit is how many connections a server of these scenes accepts from one host.
const connectionLimit = 60

// agentInfo names the series of the agent that a scrape used.
func agentInfo(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	id := must.Get(a.Client().Agent().Self())(t)["Config"]["NodeID"]
	return fmt.Sprintf("consul_cluster_agent_info{node_id=%q,server=%q}", id, a.Name)
}

// agentUp names the series of whether a configured agent answered.
func agentUp(a *consultest.Agent) string {
	return fmt.Sprintf("consul_exporter_agent_up{agent=%q}", a.URL())
}

// serversOf are the flags for an exporter that may ask these agents.
func serversOf(agents ...*consultest.Agent) []string {
	args := []string{"--probe.timeout=500ms"}
	for _, a := range agents {
		args = append(args, "--consul.server="+a.URL())
	}
	return args
}

// exhaust opens as many connections to an agent as it accepts from this host, until the test calls what it returns.
func exhaust(t *testing.T, a *consultest.Agent) (release func()) {
	t.Helper()
	var open []net.Conn
	for range connectionLimit + 5 {
		var dialer net.Dialer
		open = append(open, must.Get(dialer.DialContext(t.Context(), "tcp", a.HostPort(consultest.PortHTTP)))(t))
	}
	release = func() {
		for _, conn := range open {
			_ = conn.Close() // The agent has closed the last ones itself.
		}
	}
	t.Cleanup(release)
	return release
}

// Of three agents the first that answers usefully is used, whatever happens to the others, and it is said which.
func TestSeveralAgents(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Config: map[string]any{
		"limits": map[string]any{"http_max_conns_per_client": connectionLimit},
	}})
	harness.Settle(t, c)
	one, two := c.Servers[0], c.Servers[1]
	must.Do(t, c.TransferLeadership(harness.Soon(t), c.Servers[2]))
	first, second := agentInfo(t, one), agentInfo(t, two)
	const consistent = "consul_cluster_consistent_read_success"
	served := func(info string) harness.Samples { return harness.Samples{"consul_up": 1, info: 1, consistent: 1} }
	args := serversOf(c.Servers...)
	e := harness.StartExporter(t, nil, args...)
	e.Await(t, served(first), "consul_exporter_agent_up{agent=\""+two.URL())

	instead := func(what string) {
		t.Helper()
		want := served(second)
		want[agentUp(one)], want[agentUp(two)] = 0, 1
		e.Await(t, want, first)
		code, stdout, stderr := harness.RunProgram(t, append([]string{"check", "--output=json"}, args...)...)
		var view status.View
		if err := json.Unmarshal([]byte(stdout), &view); err != nil {
			t.Fatalf("%s: check ends with %d: %v, %s", what, code, err, stderr)
		}
		problem := slices.IndexFunc(view.Problems, func(p status.Problem) bool {
			return p.Alert == "ConsulAgentUnreachable" && p.Server == one.URL() && p.Severity == status.Warning
		})
		if problem < 0 || view.Agent.Address != two.URL() || view.ConsistentRead == nil || !view.ConsistentRead.OK {
			t.Errorf("%s: check has %v, the agent %s and the read %+v; want a warning about %s, %s and a read", what,
				harness.AlertsOf(view), view.Agent.Address, view.ConsistentRead, one.URL(), two.URL())
		}
	}

	must.Do(t, one.Kill())
	instead("killed")
	late := harness.StartExporter(t, nil, args...) // It has never seen the first agent.
	late.Await(t, served(second), first)
	must.Do(t, one.Restart(harness.Soon(t)))
	e.Await(t, served(first), second)

	must.Do(t, one.Stop())
	instead("stopped")
	must.Do(t, one.Continue())
	e.Await(t, served(first), second)

	alone := harness.StartExporter(t, nil, serversOf(one)...)
	alone.Await(t, served(first))
	release := exhaust(t, one)
	instead("too many connections")
	// Without another address, the other servers' agents are asked about the read.
	alone.Await(t, harness.Samples{"consul_up": 0, consistent: 1}, first)
	release()
	e.Await(t, served(first), second)
	alone.Await(t, served(first))

	for _, a := range c.Servers {
		must.Do(t, a.Kill())
	}
	e.Await(t, harness.Samples{"consul_up": 0, agentUp(one): 0, agentUp(two): 0}, first, second, consistent)
}
