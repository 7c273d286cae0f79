// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// quietTable are the configurations in which Consul notices nothing of the exporter. Each has Consul's defaults in all that its name does not say, see
// asShipped.
var quietTable = []quietRow{
	{name: "plain", start: plainScene, exits: []int{exitHealthy}},
	{name: "secure", start: secureScene(readmePolicy), exits: []int{exitHealthy}},
	{name: "mesh off", start: meshOffScene, exits: []int{exitHealthy}},
	{name: "mesh gateways", start: meshGatewaysScene, exits: []int{exitHealthy}},
	{name: "WAN off on one", start: wanOffScene, exits: []int{exitHealthy}},
	{name: "auto_encrypt", start: autoEncryptScene, exits: []int{exitHealthy}},
	{name: "gossip half", start: gossipHalfScene, exits: []int{exitHealthy}},
	{name: "TLS half", start: tlsHalfScene, exits: []int{exitHealthy}},
	{name: "dc2 dead", start: deadDatacenterScene, exits: []int{exitHealthy, exitDegraded}},
	{name: "no token", start: secureScene(nil), exits: []int{exitDegraded}},
	{name: "no operator:read", start: secureScene(withoutOperator), exits: []int{exitDegraded}},
	{name: "cold start", start: coldStartScene, exits: []int{exitCritical}},
	{name: "never bootstrapped", start: neverBootstrappedScene, exits: []int{exitCritical, exitUnknown}},
	{name: "peering, follower", start: peeringScene, exits: []int{exitHealthy}},
	{name: "leader hung", start: leaderHungScene, exits: []int{exitHealthy, exitDegraded, exitCritical}},
}

// asShipped is Consul's default where consultest has another, with more on top of it: patience with a silent leader, and the gRPC port without TLS, which
// is off. What is left of consultest is that each agent serves clients at an address of its own, for they are on one host.
func asShipped(more map[string]any) map[string]any {
	config := map[string]any{"performance": map[string]any{"raft_multiplier": 5}, "ports": map[string]any{"grpc": -1}}
	maps.Copy(config, more)
	return config
}

// shippedPorts and shippedSecurePorts are a server's then.
var (
	shippedPorts = append(slices.Clone(serverPorts), portID{8500, "http", "tcp"})
	clusterPorts = without(serverPorts, "grpc_tls", "dns")
	// Without a leader port 8503 has no certificate, and DNS takes longer to answer than a probe waits.
	leaderlessPorts = without(shippedPorts, "grpc_tls", "dns")
	shippedClient   = []portID{{8500, "http", "tcp"}, {8600, "dns", "tcp"}, {8600, "dns", "udp"}}
)

// without leaves out the ports of some protocols.
func without(ports []portID, protocols ...string) []portID {
	return slices.DeleteFunc(slices.Clone(ports), func(p portID) bool { return slices.Contains(protocols, p.protocol) })
}

// longLived is for certificates that nobody has to hear of: those of consultest expire the next day.
const longLived = 90 * 24 * time.Hour

// startQuiet starts a cluster and waits until everything in it is as it stays: the agents have written what they know of themselves into the catalog, and the
// servers' gRPC has its certificate of the service mesh, if there is one.
func startQuiet(t *testing.T, opts consultest.Options) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, opts)
	settle(t, c)
	return c
}

func settle(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err := c.WaitLeader(ctx)
	must(t, err)
	must(t, c.WaitMembers(ctx, len(c.Agents())))
	must(t, c.WaitSynced(ctx))
	waitFor(t, 2*time.Minute, "all servers vote", func() string {
		for _, a := range c.Servers {
			if raft := raftOf(t, a); strings.Count(raft, "Suffrage:Voter") != len(c.Servers) {
				return raft
			}
		}
		return ""
	})
	waitCertificates(t, c)
	waitFor(t, time.Minute, "autopilot calls the cluster healthy", func() string {
		health, err := leaderOf(t, c).Client().Operator().AutopilotServerHealth(nil)
		if err != nil || !health.Healthy {
			return fmt.Sprint(health, err)
		}
		return ""
	})
}

// withoutCertificate says why a server has no certificate for gRPC yet, which it gets from the service mesh unless it has one of its own.
func withoutCertificate(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	self, err := a.Client().Agent().Self()
	must(t, err)
	if self["DebugConfig"]["ConnectEnabled"] == false {
		return ""
	}
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // Whatever it is.
	conn, err := dialer.DialContext(soon(t), "tcp", a.HostPort(consultest.PortGRPCTLS))
	if err != nil {
		return err.Error()
	}
	must(t, conn.Close())
	return ""
}

// sceneOf is one cluster, all of whose servers have these ports.
func sceneOf(c *consultest.Cluster, ports []portID, args ...string) *quietScene {
	s := &quietScene{agents: c.Agents(), args: args, verified: make(map[*consultest.Agent][]portID)}
	for _, a := range c.Servers {
		s.verified[a] = ports
	}
	return s
}

func serverFlag(a *consultest.Agent) string { return "--consul.server=" + a.URL() }

// Every port is on, for every protocol to be spoken.
func plainScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1,
		Config: asShipped(map[string]any{"ports": map[string]any{"grpc": consultest.PortGRPC}}),
	})
	return sceneOf(c, plainPorts, serverFlag(c.Servers[0]))
}

// secureScene has TLS, encrypted gossip, and ACLs that allow nothing without a token. A nil policy is no token.
func secureScene(policy func(*testing.T) string) func(*testing.T) *quietScene {
	return func(t *testing.T) *quietScene {
		t.Helper()
		c := startQuiet(t, consultest.Options{Servers: 3, Clients: 1, TLS: true, CertLifetime: longLived, GossipKey: gossipKey, ACL: true, Config: asShipped(nil)})
		args := append(tlsFlags(c), serverFlag(c.Servers[0]), "--serf.encrypt-key-file="+secret(t, gossipKey))
		if policy == nil {
			s := sceneOf(c, nil, args...)
			s.verified = make(map[*consultest.Agent][]portID)
			for _, a := range c.Servers { // It cannot know their names.
				s.verified[&consultest.Agent{Name: a.HostPort(consultest.PortServer)}] = []portID{{8300, "rpc", "tcp"}}
			}
			return s
		}
		token, err := c.NewToken(t.Context(), policy(t))
		must(t, err)
		return sceneOf(c, securePorts, append(args, "--consul.token-file="+secret(t, token))...)
	}
}

func withoutOperator(t *testing.T) string {
	t.Helper()
	return strings.Replace(readmePolicy(t), `operator = "read"`, "", 1)
}

func meshOffScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1,
		Config: asShipped(map[string]any{"connect": map[string]any{"enabled": false}}),
	})
	return sceneOf(c, without(shippedPorts, "grpc_tls"), serverFlag(c.Servers[0])) // Port 8503 has no certificate.
}

// meshGatewaysScene is the primary of datacenters that find each other through mesh gateways, before there is a second one. The gossip of its WAN pool takes
// no UDP from outside the pool.
func meshGatewaysScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, TLS: true, CertLifetime: longLived,
		Config: asShipped(map[string]any{"connect": map[string]any{"enabled": true, "enable_mesh_gateway_wan_federation": true}}),
	})
	s := sceneOf(c, nil, append(tlsFlags(c), serverFlag(c.Servers[0]))...)
	for _, a := range c.Servers {
		s.verified[a] = slices.DeleteFunc(slices.Clone(securePorts), func(p portID) bool { return p == portID{8302, "serf_wan", "udp"} })
	}
	return s
}

func wanOffScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Config: asShipped(nil),
		AgentConfig: func(_ string, i int) map[string]any {
			if i == 2 {
				return map[string]any{"ports": map[string]any{"serf_wan": -1}}
			}
			return nil
		},
	})
	s := sceneOf(c, shippedPorts, serverFlag(c.Servers[0]))
	s.verified[c.Servers[1]] = without(shippedPorts, "serf_wan")
	return s
}

// autoEncryptScene asks a client that gets its certificate from the servers, which want one of everybody.
func autoEncryptScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1, TLS: true, CertLifetime: longLived, Config: asShipped(nil),
		AgentConfig: func(role string, _ int) map[string]any {
			if role == "server" {
				return map[string]any{"auto_encrypt": map[string]any{"allow_tls": true}}
			}
			return map[string]any{
				"auto_encrypt": map[string]any{"tls": true},
				"ports":        map[string]any{"http": consultest.PortHTTP, "https": -1, "grpc_tls": -1},
				"tls": map[string]any{
					"defaults":     map[string]any{"cert_file": "", "key_file": "", "verify_incoming": false, "verify_outgoing": false},
					"internal_rpc": map[string]any{"verify_server_hostname": false},
				},
			}
		},
	})
	client := c.Clients[0]
	s := sceneOf(c, clusterPorts, serverFlag(client), "--rpc.ca-file="+c.CACert, "--rpc.cert-file="+c.ClientCert, "--rpc.key-file="+c.ClientKey)
	s.verified[client] = shippedClient
	return s
}

// gossipHalfScene is a cluster on its way to encrypted gossip: two of three servers have the key already, and still speak and accept plain text.
func gossipHalfScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1, Config: asShipped(nil),
		AgentConfig: func(role string, i int) map[string]any {
			if role == "server" && i <= 2 {
				return map[string]any{"encrypt": gossipKey, "encrypt_verify_incoming": false, "encrypt_verify_outgoing": false}
			}
			return nil
		},
	})
	return sceneOf(c, shippedPorts, serverFlag(c.Servers[0]), "--serf.encrypt-key-file="+secret(t, gossipKey))
}

// tlsHalfScene is a cluster on its way to TLS: two of three servers have certificates already, and nobody insists on them.
func tlsHalfScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1, TLS: true, CertLifetime: longLived, Config: asShipped(nil),
		AgentConfig: func(role string, i int) map[string]any {
			defaults := map[string]any{"verify_incoming": false, "verify_outgoing": false}
			if role == "client" || i == 3 {
				defaults = map[string]any{"verify_incoming": false, "verify_outgoing": false, "ca_file": "", "cert_file": "", "key_file": ""}
			}
			return map[string]any{
				"ports": map[string]any{"http": consultest.PortHTTP, "https": -1},
				"tls":   map[string]any{"defaults": defaults, "internal_rpc": map[string]any{"verify_server_hostname": false}},
			}
		},
	})
	return sceneOf(c, shippedPorts, append(tlsFlags(c), serverFlag(c.Servers[0]))...)
}

// deadDatacenterScene is a datacenter whose only neighbor dies.
func deadDatacenterScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	far := startQuiet(t, consultest.Options{Servers: 1, Datacenter: "dc2", Config: asShipped(nil)})
	must(t, c.JoinWAN(soon(t), far))
	s := sceneOf(c, shippedPorts, serverFlag(c.Servers[0]))
	s.agents = append(s.agents, far.Servers[0])
	s.fault = func() { must(t, far.Servers[0].Kill()) }
	s.heal = func() {
		must(t, far.Servers[0].Restart(soon(t)))
		settle(t, far)
		must(t, c.JoinWAN(soon(t), far))
	}
	return s
}

// coldStartScene is a cluster after a power failure, when only one server has come back.
func coldStartScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	s := sceneOf(c, nil, serverFlag(c.Servers[0]))
	s.verified = map[*consultest.Agent][]portID{c.Servers[0]: leaderlessPorts}
	s.fault = func() {
		for _, a := range c.Servers {
			must(t, a.Kill())
		}
		must(t, c.Servers[0].Restart(soon(t)))
	}
	s.heal = func() {
		for _, a := range c.Servers[1:] {
			must(t, a.Restart(soon(t)))
		}
		settle(t, c)
	}
	return s
}

// neverBootstrappedScene is one server of the three that it expects. It starts anew in each period, because what it logs by itself gets less with time.
func neverBootstrappedScene(t *testing.T) *quietScene {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 3, Absent: 2, Config: asShipped(nil)})
	s := sceneOf(c, nil, serverFlag(c.Servers[0]))
	s.verified = map[*consultest.Agent][]portID{c.Servers[0]: leaderlessPorts}
	s.fault = func() { must(t, c.Servers[0].Restart(soon(t))) }
	return s
}

// peeringScene asks a follower, which knows less of a peering than the leader.
func peeringScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	far := startQuiet(t, consultest.Options{Servers: 1, Datacenter: "dc2", Config: asShipped(nil)})
	must(t, c.Peer(soon(t), far))
	s := sceneOf(c, shippedPorts, serverFlag(others(c, leaderOf(t, c))[0]))
	s.agents = append(s.agents, far.Servers[0])
	return s
}

// leaderHungScene is a cluster whose leader hangs: its ports accept connections and answer none.
func leaderHungScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	asked := others(c, leaderOf(t, c))[0]
	leader := leaderOf(t, c)
	s := sceneOf(c, shippedPorts, serverFlag(asked))
	delete(s.verified, leader)
	s.fault = func() { must(t, leader.Stop()) }
	s.heal = func() {
		must(t, leader.Continue())
		settle(t, c)
		must(t, c.TransferLeadership(soon(t), leader)) // The next time it is the leader, too.
	}
	return s
}
