// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// quietTable are the configurations in which Consul notices nothing of the exporter. Each has Consul's defaults in
// all that its name does not say, see asShipped.
var quietTable = []quietRow{
	{name: "plain", start: plainScene, exits: []int{cli.ExitHealthy}},
	{name: "secure", start: secureScene(harness.ReadmePolicy), exits: []int{cli.ExitHealthy}},
	{name: "mesh off", start: meshOffScene, exits: []int{cli.ExitHealthy}},
	{name: "mesh gateways", start: meshGatewaysScene, exits: []int{cli.ExitHealthy}},
	{name: "WAN off on one", start: wanOffScene, exits: []int{cli.ExitHealthy}},
	{name: "auto_encrypt", start: autoEncryptScene, exits: []int{cli.ExitHealthy}},
	{name: "gossip half", start: gossipHalfScene, exits: []int{cli.ExitHealthy}},
	{name: "TLS half", start: tlsHalfScene, exits: []int{cli.ExitHealthy}},
	{name: "dc2 dead", start: deadDatacenterScene, exits: []int{cli.ExitHealthy, cli.ExitDegraded}},
	{name: "no token", start: secureScene(nil), exits: []int{cli.ExitDegraded}},
	{name: "no operator:read", start: secureScene(withoutOperator), exits: []int{cli.ExitDegraded}},
	{name: "cold start", start: coldStartScene, exits: []int{cli.ExitCritical}},
	{name: "never bootstrapped", start: neverBootstrappedScene, exits: []int{cli.ExitCritical, cli.ExitUnknown}},
	{name: "peering, follower", start: peeringScene, exits: []int{cli.ExitHealthy}},
	{
		// Unknown while the others still follow the leader that hangs.
		name: "leader hung", start: leaderHungScene,
		exits: []int{cli.ExitHealthy, cli.ExitDegraded, cli.ExitCritical, cli.ExitUnknown},
	},
}

// asShipped switches off the one port that is on in consultest and off by default, gRPC without TLS, with more on top
// of it. What is left of consultest is that each agent serves clients at an
// address of its own, for they are on one host.
func asShipped(more map[string]any) map[string]any {
	config := map[string]any{"ports": map[string]any{"grpc": -1}}
	maps.Copy(config, more)
	return config
}

// shippedPorts and shippedSecurePorts are a server's then.
var (
	shippedPorts = append(slices.Clone(harness.ServerPorts), harness.Port(8500, "http", "tcp"))
	clusterPorts = without(harness.ServerPorts, "grpc_tls", "dns")
	// Without a leader port 8503 has no certificate, and DNS takes longer to answer than a probe waits.
	leaderlessPorts = without(shippedPorts, "grpc_tls", "dns")
	shippedClient   = []harness.PortID{
		harness.Port(8500, "http", "tcp"), harness.Port(8600, "dns", "tcp"), harness.Port(8600, "dns", "udp"),
	}
)

// without leaves out the ports of some protocols.
func without(ports []harness.PortID, protocols ...string) []harness.PortID {
	return slices.DeleteFunc(slices.Clone(ports), func(p harness.PortID) bool {
		return slices.Contains(protocols, p.Protocol)
	})
}

// longLived is for certificates that nobody has to hear of: those of consultest expire the next day.
const longLived = 90 * 24 * time.Hour

// startQuiet starts a cluster and waits until everything in it is as it stays.
func startQuiet(t *testing.T, opts consultest.Options) *consultest.Cluster {
	t.Helper()
	c := consultest.Start(t, opts)
	harness.Settle(t, c)
	return c
}

// sceneOf is one cluster, all of whose servers have these ports.
func sceneOf(c *consultest.Cluster, ports []harness.PortID, args ...string) *quietScene {
	s := &quietScene{agents: c.Agents(), args: args, verified: make(map[*consultest.Agent][]harness.PortID)}
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
	return sceneOf(c, harness.PlainPorts, serverFlag(c.Servers[0]))
}

// secureScene has TLS, encrypted gossip, and ACLs that allow nothing without a token. A nil policy is no token.
func secureScene(policy func(*testing.T) string) func(*testing.T) *quietScene {
	return func(t *testing.T) *quietScene {
		t.Helper()
		c := startQuiet(t, consultest.Options{
			Servers: 3, Clients: 1, TLS: true, CertLifetime: longLived, GossipKey: gossipKey, ACL: true, Config: asShipped(nil),
		})
		args := append(harness.TLSFlags(c), serverFlag(c.Servers[0]), "--serf.encrypt-key-file="+harness.Secret(t, gossipKey))
		if policy == nil {
			s := sceneOf(c, nil, args...)
			s.verified = make(map[*consultest.Agent][]harness.PortID)
			for _, a := range c.Servers { // It cannot know their names.
				s.verified[nameless(a)] = []harness.PortID{harness.Port(8300, "rpc", "tcp")}
			}
			return s
		}
		token := must.Get(c.NewToken(t.Context(), policy(t)))(t)
		return sceneOf(c, harness.SecurePorts, append(args, "--consul.token-file="+harness.Secret(t, token))...)
	}
}

func withoutOperator(t *testing.T) string {
	t.Helper()
	return strings.Replace(harness.ReadmePolicy(t), `operator = "read"`, "", 1)
}

func meshOffScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1,
		Config: asShipped(map[string]any{"connect": map[string]any{"enabled": false}}),
	})
	return sceneOf(c, without(shippedPorts, "grpc_tls"), serverFlag(c.Servers[0])) // Port 8503 has no certificate.
}

// meshGatewaysScene is the primary of datacenters that find each other through mesh gateways, before there is a
// second one. The gossip of its WAN pool takes no UDP from outside the pool.
func meshGatewaysScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, TLS: true, CertLifetime: longLived,
		Config: asShipped(map[string]any{
			"connect": map[string]any{"enabled": true, "enable_mesh_gateway_wan_federation": true},
		}),
	})
	s := sceneOf(c, nil, append(harness.TLSFlags(c), serverFlag(c.Servers[0]))...)
	for _, a := range c.Servers {
		s.verified[a] = slices.DeleteFunc(slices.Clone(harness.SecurePorts), func(p harness.PortID) bool {
			return p == harness.Port(8302, "serf_wan", "udp")
		})
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
					"defaults": map[string]any{
						"cert_file": "", "key_file": "", "verify_incoming": false, "verify_outgoing": false,
					},
					"internal_rpc": map[string]any{"verify_server_hostname": false},
				},
			}
		},
	})
	client := c.Clients[0]
	s := sceneOf(c, clusterPorts, serverFlag(client),
		"--rpc.ca-file="+c.CACert, "--rpc.cert-file="+c.ClientCert, "--rpc.key-file="+c.ClientKey)
	s.verified[client] = shippedClient
	return s
}

// gossipHalfScene is a cluster on its way to encrypted gossip: two of three servers have the key already, and still
// speak and accept plain text.
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
	return sceneOf(c, shippedPorts, serverFlag(c.Servers[0]), "--serf.encrypt-key-file="+harness.Secret(t, gossipKey))
}

// tlsHalfScene is a cluster on its way to TLS: two of three servers have certificates already, and nobody insists on
// them.
func tlsHalfScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{
		Servers: 3, Clients: 1, TLS: true, CertLifetime: longLived, Config: asShipped(nil),
		AgentConfig: func(role string, i int) map[string]any {
			defaults := map[string]any{"verify_incoming": false, "verify_outgoing": false}
			if role == "client" || i == 3 {
				defaults = map[string]any{
					"verify_incoming": false, "verify_outgoing": false, "ca_file": "", "cert_file": "", "key_file": "",
				}
			}
			return map[string]any{
				"ports": map[string]any{"http": consultest.PortHTTP, "https": -1},
				"tls":   map[string]any{"defaults": defaults, "internal_rpc": map[string]any{"verify_server_hostname": false}},
			}
		},
	})
	return sceneOf(c, shippedPorts, append(harness.TLSFlags(c), serverFlag(c.Servers[0]))...)
}

// deadDatacenterScene is a datacenter whose only neighbor dies.
func deadDatacenterScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	far := startQuiet(t, consultest.Options{Servers: 1, Datacenter: "dc2", Config: asShipped(nil)})
	must.Do(t, c.JoinWAN(harness.Soon(t), far))
	s := sceneOf(c, shippedPorts, serverFlag(c.Servers[0]))
	s.agents = append(s.agents, far.Servers[0])
	s.fault = func() { must.Do(t, far.Servers[0].Kill()) }
	s.heal = func() {
		must.Do(t, far.Servers[0].Restart(harness.Soon(t)))
		harness.Settle(t, far)
		must.Do(t, c.JoinWAN(harness.Soon(t), far))
	}
	return s
}

// coldStartScene is a cluster after a power failure, when only one server has come back.
func coldStartScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	s := sceneOf(c, nil, serverFlag(c.Servers[0]))
	s.verified = map[*consultest.Agent][]harness.PortID{c.Servers[0]: leaderlessPorts}
	s.fault = func() {
		for _, a := range c.Servers {
			must.Do(t, a.Kill())
		}
		must.Do(t, c.Servers[0].Restart(harness.Soon(t)))
	}
	s.heal = func() {
		for _, a := range c.Servers[1:] {
			must.Do(t, a.Restart(harness.Soon(t)))
		}
		harness.Settle(t, c)
	}
	return s
}

// neverBootstrappedScene is one server of the three that it expects. It starts anew in each period, because what it
// logs by itself gets less with time.
func neverBootstrappedScene(t *testing.T) *quietScene {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 3, Absent: 2, Config: asShipped(nil)})
	s := sceneOf(c, nil, serverFlag(c.Servers[0]))
	s.verified = map[*consultest.Agent][]harness.PortID{c.Servers[0]: leaderlessPorts}
	s.fault = func() { must.Do(t, c.Servers[0].Restart(harness.Soon(t))) }
	return s
}

// peeringScene asks a follower, which knows less of a peering than the leader.
func peeringScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	far := startQuiet(t, consultest.Options{Servers: 1, Datacenter: "dc2", Config: asShipped(nil)})
	must.Do(t, c.Peer(harness.Soon(t), far))
	s := sceneOf(c, shippedPorts, serverFlag(harness.Others(c, harness.LeaderOf(t, c))[0]))
	s.agents = append(s.agents, far.Servers[0])
	return s
}

// leaderHungScene is a cluster whose leader hangs: its ports accept connections and answer none.
func leaderHungScene(t *testing.T) *quietScene {
	t.Helper()
	c := startQuiet(t, consultest.Options{Servers: 3, Config: asShipped(nil)})
	asked := harness.Others(c, harness.LeaderOf(t, c))[0]
	leader := harness.LeaderOf(t, c)
	s := sceneOf(c, shippedPorts, serverFlag(asked))
	delete(s.verified, leader)
	s.fault = func() { must.Do(t, leader.Stop()) }
	s.heal = func() {
		must.Do(t, leader.Continue())
		harness.Settle(t, c)
		must.Do(t, c.TransferLeadership(harness.Soon(t), leader)) // The next time it is the leader, too.
	}
	return s
}
