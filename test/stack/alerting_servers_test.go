// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// one is a fault of one cluster.
func one(cluster, fault string, strike, mend func()) []outage {
	return []outage{{cluster, fault, strike, mend}}
}

func leaderKilled(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	s.exporter(t, "leader", "--consul.server="+c.Servers[1].URL())
	return one("leader", "the leader is killed",
		func() { harness.Must(t, c.Servers[0].Kill()) },
		func() { restart(t, c.Servers[0]) })
}

func followerHangs(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.exporter(t, "follower", "--consul.server="+c.Servers[0].URL())
	return one("follower", "a follower hangs (SIGSTOP)",
		func() { harness.Must(t, c.Servers[2].Stop()) },
		func() { harness.Must(t, c.Servers[2].Continue()) })
}

// twoClusters are watched by one Prometheus, the first of them by two exporters: each has its own alerts, once.
func twoClusters(t *testing.T, s *alertStack) []outage {
	t.Helper()
	const fault = "a follower is killed, in each of two clusters, one of which has two exporters"
	var outages []outage
	for _, name := range []string{"east", "west"} {
		c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
		s.exporter(t, name, "--consul.server="+c.Servers[0].URL())
		if name == "east" {
			s.exporter(t, name, "--consul.server="+c.Servers[1].URL())
		}
		outages = append(outages, one(name, fault,
			func() { harness.Must(t, c.Servers[2].Kill()) },
			func() { restart(t, c.Servers[2]) })...)
	}
	return outages
}

// splitBrain is healed by one of the two that leaves.
func splitBrain(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone, Config: brisk()})
	s.exporter(t, "split", "--consul.server="+c.Servers[0].URL())
	return one("split", "two servers that each lead a cluster of their own are joined",
		func() { harness.Must(t, c.Join(harness.Soon(t), c.Servers[0], c.Servers[1])) },
		func() { leave(t, c.Servers[1], c.Servers[0]) })
}

// leave makes a server leave, and another one sure of it: on a busy machine it may not have heard so, and take the server for failed.
func leave(t *testing.T, leaving, staying *consultest.Agent) {
	t.Helper()
	harness.Must(t, leaving.Leave(harness.Soon(t)))
	harness.Must(t, staying.Client().Agent().ForceLeave(leaving.Name))
}

// leadershipMoves waits between two moves until the exporter has seen the one before.
func leadershipMoves(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	s.exporter(t, "moves", "--consul.server="+c.Servers[0].URL())
	return one("moves", "leadership is transferred five times in a row",
		func() {
			for i := range 5 {
				harness.Must(t, c.TransferLeadership(harness.Soon(t), c.Servers[(i+1)%3]))
				time.Sleep(2 * alertScrapeInterval) //nolint:forbidigo // So that each is seen.
			}
		},
		func() {})
}

// allLeave and allCrash are two ways of restarting all servers, one at a time, as an upgrade does: each is back before the next one goes.
func allLeave(t *testing.T, s *alertStack) []outage {
	t.Helper()
	return restartAll(t, s, "left", "all servers leave and come back, one at a time", func(a *consultest.Agent) error { return a.Leave(harness.Soon(t)) })
}

func allCrash(t *testing.T, s *alertStack) []outage {
	t.Helper()
	return restartAll(t, s, "crashed", "all servers are killed and come back, one at a time", (*consultest.Agent).Kill)
}

func restartAll(t *testing.T, s *alertStack, cluster, fault string, end func(*consultest.Agent) error) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	s.exporter(t, cluster, "--consul.server="+c.Servers[0].URL())
	s.exporter(t, cluster, "--consul.server="+c.Servers[1].URL())
	return one(cluster, fault,
		func() {
			for _, a := range c.Servers {
				harness.Must(t, end(a))
				restart(t, a)
				waitVoters(t, c)
			}
		},
		func() {})
}

// waitVoters waits until all servers vote and autopilot calls them healthy, which is when an operator goes on to the next one.
func waitVoters(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	harness.Must(t, c.WaitMembers(harness.Soon(t), len(c.Servers)))
	harness.WaitFor(t, 60*time.Second, "autopilot to call all servers healthy", func() string {
		leader, err := c.Leader(harness.Soon(t))
		if err != nil {
			return err.Error()
		}
		state, err := leader.Client().Operator().AutopilotState(nil)
		if err != nil {
			return err.Error()
		}
		if len(state.Voters) != len(c.Servers) || !state.Healthy {
			return fmt.Sprintf("voters %v, healthy %v", state.Voters, state.Healthy)
		}
		return ""
	})
}

// certificates expire on one follower, and soon on the other.
func certificates(t *testing.T, s *alertStack) []outage {
	t.Helper()
	const day = 24 * time.Hour
	c := startLed(t, consultest.Options{Servers: 3, TLS: true, CertLifetime: 90 * day, Config: steady()})
	s.exporter(t, "tls", append(harness.TLSFlags(c), "--consul.server="+c.Servers[0].URL())...)
	certify := func(a *consultest.Agent, lifetime time.Duration) func() {
		return func() { harness.Must(t, a.Certify(lifetime)) }
	}
	return []outage{
		{"tls", "a server's certificate expires in ten days", certify(c.Servers[1], 10*day), certify(c.Servers[1], 90*day)},
		{"tls", "a server's certificate has expired", certify(c.Servers[2], -time.Minute), certify(c.Servers[2], 90*day)},
	}
}

// voterLeft is a server that is missed by nothing but the number of voters: of those that there were for a tenth of the time at least, which is
// why it goes once others have been restarted.
func voterLeft(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: steady()})
	s.exporter(t, "fewer", "--consul.server="+c.Servers[0].URL())
	return one("fewer", "a server leaves and does not come back",
		func() { leave(t, c.Servers[2], c.Servers[0]) },
		func() { restart(t, c.Servers[2]) })
}

// agentHangs is about the only agent that exporters ask.
func agentHangs(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	s.exporter(t, "stuck", "--consul.server="+c.Clients[0].URL())
	return one("stuck", "the agent that the exporter asks hangs (SIGSTOP)",
		func() { harness.Must(t, c.Clients[0].Stop()) },
		func() { harness.Must(t, c.Clients[0].Continue()) })
}

// agentKilled is about the agent that one exporter asks, and one of two others.
func agentKilled(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Clients: 1, Config: steady()}) // Of two members the other one would have no health in gossip.
	s.exporter(t, "agent", "--consul.server="+c.Clients[0].URL())
	s.exporter(t, "agents", "--consul.server="+c.Clients[0].URL())
	s.exporter(t, "agents", "--consul.server="+c.Servers[0].URL())
	return []outage{
		{
			"agent", "the agent that the exporter asks is killed",
			func() { harness.Must(t, c.Clients[0].Kill()) },
			func() { restart(t, c.Clients[0]) },
		},
		{"agents", "the agent that one of two exporters asks is killed", func() {}, func() {}},
	}
}

func tokenReadsHalf(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLocked(t)
	for _, name := range []string{"api", "web"} {
		_, err := c.Servers[0].Client().Catalog().Register(&api.CatalogRegistration{
			Node: "worker", Address: "10.0.0.9", Service: &api.AgentService{ID: name + "-1", Service: name},
		}, nil)
		harness.Must(t, err)
	}
	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	file := harness.Secret(t, token)
	s.exporter(t, "half", "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file)
	return one("half", "the exporter gets a token that may read half of the services",
		func() {
			half, err := c.NewToken(t.Context(), halfPolicy(t))
			harness.Must(t, err)
			rewrite(t, file, half)
		},
		func() { rewrite(t, file, token) })
}

// halfPolicy is README's, with the right to read half of the services.
func halfPolicy(t *testing.T) string {
	t.Helper()
	return strings.Replace(harness.ReadmePolicy(t), `service_prefix ""`, `service_prefix "a"`, 1)
}

// rewrite gives a file another content.
func rewrite(t *testing.T, file, content string) {
	t.Helper()
	harness.Must(t, os.WriteFile(file, []byte(content), 0o600))
}
