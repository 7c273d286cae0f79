// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// threeVoters is what is right of a cluster of three in which each server is who it is.
var threeVoters = harness.Samples{
	"consul_cluster_voters": 3, harness.AnsweringVoters: 3, "consul_cluster_failure_margin": 1,
	"consul_cluster_leaders": 1, "consul_cluster_reported_leaders": 1, "consul_cluster_raft_configurations": 1,
	"consul_cluster_unknown_raft_peers": 0, "consul_cluster_foreign_servers": 0,
}

// expectServers fails unless these servers are known, each once, with a vote or without.
func expectServers(t *testing.T, s harness.Samples, voters, others []string) {
	t.Helper()
	var votes, noVotes []string
	for series := range s {
		if !strings.HasPrefix(series, "consul_server_info{") {
			continue
		}
		_, rest, _ := strings.Cut(series, `server="`)
		name, _, _ := strings.Cut(rest, `"`)
		if strings.Contains(series, `voter="true"`) {
			votes = append(votes, name)
		} else {
			noVotes = append(noVotes, name)
		}
	}
	slices.Sort(votes)
	slices.Sort(noVotes)
	if !slices.Equal(votes, voters) || !slices.Equal(noVotes, others) {
		t.Errorf("voters are %q, other servers %q; want %q and %q", votes, noVotes, voters, others)
	}
}

// Consul's community edition ignores read_replica, and the server votes, but the Serf tag stays.
func TestIdentity_ReadReplica(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{AgentConfig: func(_ string, i int) map[string]any {
		if i == 3 {
			return map[string]any{"read_replica": true, "bootstrap_expect": 0}
		}
		return map[string]any{"bootstrap_expect": 2}
	}})
	must.Do(t, c.WaitHealthy(harness.Soon(t)))
	a, b, replica := c.Servers[0], c.Servers[1], c.Servers[2]
	e := harness.StartExporter(t, nil, serverFlag(a))
	expectServers(t, e.Await(t, threeVoters), []string{a.Name, b.Name, replica.Name}, nil)
	expectAnswer(t, a, replica.Name, cli.ExitSafe, "2 of 3 voters can be counted on")

	must.Do(t, b.Kill())
	expectAnswer(t, a, replica.Name, cli.ExitUnsafe, "and the quorum is 2.")
	// Autopilot takes it out, and then the two that are left are both needed.
	e.Await(t, harness.Samples{
		"consul_cluster_voters": 2, "consul_cluster_failure_margin": 0, "consul_cluster_leaders": 1,
	})
	for _, needed := range []*consultest.Agent{a, replica} {
		expectAnswer(t, a, needed.Name, cli.ExitUnsafe, "1 of 2 voters can be counted on, and the quorum is 2.")
	}
}

// A server is killed, and started without its data and with another name at the same address. It is one server: there
// is one leader, one voice at the address, and nothing of the dead name answers.
func TestIdentity_RenamedAtTheSameAddress(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Deviations: []consultest.Deviation{
		consultest.KeepDead.Because("the dead name is to stay a member, to see that nothing of it answers"),
	}})
	must.Do(t, c.WaitHealthy(harness.Soon(t)))
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	e.Await(t, threeVoters)
	renamed := c.Servers[2]
	dead := harness.PortSeries("up", renamed)
	must.Do(t, renamed.Kill())
	e.Await(t, harness.Samples{dead: 0, `consul_serf_lan_member_status{member="server-3"}`: 4})
	renamed.Name = "renamed"
	must.Do(t, renamed.Configure(map[string]any{"data_dir": t.TempDir()}))
	must.Do(t, renamed.Restart(harness.Soon(t)))

	// Until the leader has given it the vote of the dead one, nothing adds up to a voter too many, or to two leaders. As
	// long as gossip does not know it, what answers at the address may be the dead one.
	harness.WaitFor(t, time.Minute, "the vote of the renamed server", func() string {
		s := e.Scrape(t)
		_, known := s[`consul_serf_lan_member_status{member="renamed"}`]
		if s["consul_cluster_leaders"] > 1 || s["consul_cluster_voters"] > 3 || (known && s[dead] != 0) {
			t.Errorf("%v leaders, %v voters, port 8300 of the dead name is up: %v",
				s["consul_cluster_leaders"], s["consul_cluster_voters"], s[dead])
		}
		return strings.Join(s.Differences(threeVoters), "\n")
	})
	must.Do(t, c.TransferLeadership(harness.Soon(t), renamed))
	s := e.Await(t, threeVoters.With(harness.Samples{
		harness.ServerSeries("is_leader", renamed): 1, harness.PortSeries("up", renamed): 1, dead: 0,
		harness.Port(8301, "serf_lan", "tcp").Series("consul_port_up", renamed): 1,
		`consul_autopilot_server_healthy{server="renamed"}`:                     1,
	}), `consul_server_raft_is_leader{server="server-3"}`, `consul_autopilot_server_healthy{server="server-3"}`)
	expectServers(t, s, []string{"renamed", "server-1", "server-2"}, []string{"server-3"})
	if code, out, _ := harness.CheckOf(t, c.Servers[0]); strings.Contains(out, "ConsulSplitBrain") ||
		code == cli.ExitUnknown {
		t.Errorf("check exits with %d: %s", code, out)
	}
}

// Autopilot's names lack a datacenter at their end. What it says is joined by the ID: that it calls followers unhealthy
// is not lost.
func TestIdentity_NamesWithTheDatacenter(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{
		Datacenter: "nyc3", NodeName: func(_ string, i int) string { return fmt.Sprintf("consul-%d.nyc3", i) },
	})
	leader := harness.LeaderOf(t, c)
	followers := harness.Others(c, leader)
	e := harness.StartExporter(t, nil, serverFlag(leader))
	of := func(leading, following float64) harness.Samples {
		return threeVoters.With(harness.Samples{
			autopilotSeries("healthy", leader): leading, autopilotSeries("healthy", followers[0]): following,
			autopilotSeries("healthy", followers[1]): following,
		})
	}
	names := e.Await(t, of(1, 1)).Labels("consul_autopilot_server_healthy", "server")
	if wanted := []string{"consul-1.nyc3", "consul-2.nyc3", "consul-3.nyc3"}; !slices.Equal(names, wanted) {
		t.Errorf("autopilot is about %q; want %q", names, wanted)
	}
	expectAnswer(t, leader, followers[0].Name, cli.ExitSafe, "2 of 3 voters can be counted on")

	operator := leader.Client().Operator()
	config := must.Get(operator.AutopilotGetConfiguration(nil))(t)
	config.LastContactThreshold = api.NewReadableDuration(time.Millisecond)
	must.Do(t, operator.AutopilotSetConfiguration(config, nil))
	e.Await(t, of(1, 0))
	expectAnswer(t, leader, followers[0].Name, cli.ExitUnsafe,
		followers[1].Name+" cannot be counted on: autopilot calls it unhealthy.")
}

// Three servers share one address with different ports: each is asked on its own.
func TestIdentity_OneAddress(t *testing.T) {
	t.Parallel()
	const servers = 3
	c := consultest.Start(t, consultest.Options{Servers: servers, Absent: servers})
	shared := c.Servers[0].Addr
	var join []string
	for i := range servers {
		join = append(join, fmt.Sprintf("%s:%d", shared, 8301+10*i))
	}
	for i, a := range c.Servers {
		must.Do(t, a.Configure(map[string]any{
			"bind_addr": shared, "advertise_addr": shared, "retry_join": join,
			"ports": map[string]any{"server": 8300 + 10*i, "serf_lan": 8301 + 10*i, "serf_wan": 8302 + 10*i},
		}))
		must.Do(t, a.Restart(harness.Soon(t)))
	}
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	want := threeVoters.With(nil)
	for i, a := range c.Servers {
		want[harness.Port(8300+10*i, "rpc", "tcp").Series("consul_port_up", a)] = 1
		want[harness.Port(8301+10*i, "serf_lan", "tcp").Series("consul_port_up", a)] = 1
		want[harness.Port(8302+10*i, "serf_wan", "udp").Series("consul_port_up", a)] = 1
	}
	s := e.Await(t, want, `consul_port_up{port="8300",protocol="rpc",server="server-2"`)
	expectServers(t, s, []string{"server-1", "server-2", "server-3"}, nil)

	// One of them dies, and only that one is down.
	must.Do(t, c.Servers[2].Kill())
	e.Await(t, harness.Samples{
		harness.AnsweringVoters: 2, "consul_cluster_leaders": 1,
		harness.Port(8300, "rpc", "tcp").Series("consul_port_up", c.Servers[0]): 1,
		harness.Port(8310, "rpc", "tcp").Series("consul_port_up", c.Servers[1]): 1,
	})
}
