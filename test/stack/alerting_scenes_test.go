// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// scene starts a cluster and exporters that watch it, and says how to break it.
type scene func(t *testing.T, s *alertStack) []outage

// TestStackAlerts breaks clusters and sees who is told. What takes the packet filter is in TestE2EAlerts.
func TestStackAlerts(t *testing.T) {
	playAll(t, []act{
		{"rolling restart and voters", nil, []scene{allLeave, voterLeft}},
		{"quorum and services", map[string]string{"maintenance": "2m"}, []scene{quorumLost, services}},
		{"hung leader and token", nil, []scene{leaderHangs, tokenRevoked, untouched}},
		{"leader and followers", nil, []scene{allCrash, leaderKilled, followerHangs}},
		{"clusters", nil, []scene{twoClusters, splitBrain, leadershipMoves}},
		{"certificates and rights", nil, []scene{certificates, tokenReadsHalf}},
		{"exporters and agents", nil, []scene{exporters, agentKilled, agentHangs}},
		{"mesh and gossip", nil, []scene{rootExpires, gossipEncrypted, peeringTerminated}},
	})
}

// act are scenes that share a Prometheus and an Alertmanager, and have their faults at the same time.
type act struct {
	name string
	// settings are those of the pack.
	settings map[string]string
	scenes   []scene
}

// playAll plays acts, as many at a time as the test may run in parallel.
func playAll(t *testing.T, acts []act) {
	t.Helper()
	binary := harness.BuildExporter(t)
	for _, a := range acts {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := startAlerting(t, binary, a.settings)
			var outages []outage
			for _, start := range a.scenes {
				outages = append(outages, start(t, s)...)
			}
			s.prove(t, outages...)
		})
	}
}

// startLed starts a cluster that server-1 leads.
func startLed(t *testing.T, options consultest.Options) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, options)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	harness.Must(t, c.TransferLeadership(ctx, c.Servers[0]))
	return c
}

// steady is for clusters of which nothing is to be learnt about elections.
func steady() map[string]any { return harness.Patient(brisk()) }

// brisk makes gossip between datacenters as fast as that within one: it takes half a minute to notice a failure, and as long to notice that it is
// over, which is longer than the alerts here go on. Servers that are dead stay members, so that alerts name them.
func brisk() map[string]any {
	config := harness.KeepDead()
	config["gossip_wan"] = map[string]any{"gossip_interval": "200ms", "probe_interval": "1s", "probe_timeout": "500ms", "suspicion_mult": 4}
	return config
}

// restart starts agents again and waits until they answer.
func restart(t *testing.T, agents ...*consultest.Agent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, a := range agents {
		harness.Must(t, a.Restart(ctx))
	}
}

func quorumLost(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	s.exporter(t, "quorum", "--consul.server="+c.Servers[2].URL())
	return []outage{{
		"quorum", "two of three servers are killed",
		func() {
			harness.Must(t, c.Servers[0].Kill())
			harness.Must(t, c.Servers[1].Kill())
		},
		func() { restart(t, c.Servers[:2]...) },
	}}
}

func leaderHangs(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Config: brisk()})
	s.exporter(t, "hung", "--consul.server="+c.Servers[1].URL())
	s.exporter(t, "hung", "--consul.server="+c.Servers[2].URL())
	return []outage{{
		"hung", "the leader hangs (SIGSTOP), watched by two exporters",
		func() { harness.Must(t, c.Servers[0].Stop()) },
		func() { harness.Must(t, c.Servers[0].Continue()) },
	}}
}

// untouched is a cluster to which nothing happens while others have their faults, for ten minutes.
func untouched(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Clients: 1, Config: steady()})
	register(t, c.Clients[0], "web-1", "web")
	s.exporter(t, "untouched", "--consul.server="+c.Servers[0].URL())
	s.exporter(t, "untouched", "--consul.server="+c.Clients[0].URL())
	return []outage{{
		"untouched", "nothing, for ten minutes",
		func() {},
		func() { s.expectCalm(t, "untouched", scaled(10*time.Minute)) },
	}}
}

// setCheck sets the status of a check with a time to live.
func setCheck(t *testing.T, a *consultest.Agent, check, status string) {
	t.Helper()
	harness.Must(t, a.Client().Agent().UpdateTTL(check, "", status))
}

// register registers an instance of a service, with one check whose status the test sets.
func register(t *testing.T, a *consultest.Agent, id, name string) {
	t.Helper()
	harness.Must(t, a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: name, Check: &api.AgentServiceCheck{CheckID: id, TTL: "1h", Status: api.HealthPassing},
	}))
}

func services(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, Clients: 3, Config: steady()})
	host := c.Clients[0]
	register(t, host, "web-1", "web")
	register(t, host, "web-2", "web")
	register(t, host, "db-1", "db")
	register(t, host, "api-1", "api")
	harness.Must(t, c.Servers[2].Client().Agent().CheckRegister(&api.AgentCheckRegistration{
		ID: "disk", Name: "Disk", AgentServiceCheck: api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
	}))
	s.exporter(t, "services", "--consul.server="+c.Servers[0].URL())
	node, hosted := c.Clients[1].Client().Agent(), host.Client().Agent()
	check := func(fault string, a *consultest.Agent, check string) outage {
		return outage{
			"services", fault,
			func() { setCheck(t, a, check, api.HealthCritical) },
			func() { setCheck(t, a, check, api.HealthPassing) },
		}
	}
	return []outage{
		check("one of two instances of a service goes critical", host, "web-2"),
		check("all instances of a service go critical", host, "db-1"),
		check("a check of a server's node goes critical", c.Servers[2], "disk"),
		{
			"services", "a node stays in maintenance, for longer than `--maintenance=2m`",
			func() { harness.Must(t, node.EnableNodeMaintenance("")) },
			func() { harness.Must(t, node.DisableNodeMaintenance()) },
		},
		{
			"services", "a service instance stays in maintenance, for longer than `--maintenance=2m`",
			func() { harness.Must(t, hosted.EnableServiceMaintenance("api-1", "")) },
			func() { harness.Must(t, hosted.DisableServiceMaintenance("api-1")) },
		},
		{
			"services", "a client agent is killed",
			func() { harness.Must(t, c.Clients[2].Kill()) },
			func() { restart(t, c.Clients[2]) },
		},
	}
}

// startLocked starts a cluster that denies by default. Its agents may answer DNS.
func startLocked(t *testing.T) *consultest.Cluster {
	t.Helper()
	c := startLed(t, consultest.Options{Servers: 3, ACL: true, Config: steady()})
	for _, a := range c.Servers {
		_, err := a.Client().Agent().UpdateDefaultACLToken(c.ManagementToken, nil)
		harness.Must(t, err)
	}
	return c
}

func tokenRevoked(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := startLocked(t)
	token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
	harness.Must(t, err)
	file := harness.Secret(t, token)
	s.exporter(t, "token", "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file)
	acl := c.Servers[0].Client().ACL()
	return []outage{{
		"token", "the exporter's token is revoked",
		func() {
			own, _, err := acl.TokenReadSelf(&api.QueryOptions{Token: token})
			harness.Must(t, err)
			_, err = acl.TokenDelete(own.AccessorID, nil)
			harness.Must(t, err)
		},
		func() {
			token, err := c.NewToken(t.Context(), harness.ReadmePolicy(t))
			harness.Must(t, err)
			harness.Must(t, os.WriteFile(file, []byte(token), 0o600))
		},
	}}
}
