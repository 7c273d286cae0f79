// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var grpcTLS = map[Protocol]int{ProtocolGRPCTLS: 8503}

// What Consul's configuration rules out is not tried, and what may differ between servers is tried only where that is
// quiet.
func TestPlan_Quiet(t *testing.T) {
	t.Parallel()
	secure := Server{
		Name: "a", ID: "a", Host: "10.0.0.1", RPCAddress: "10.0.0.1:8300", Status: StatusAlive, Datacenter: "dc1",
		WANPort: 8302, GRPCTLSPort: 8503, UsesTLS: true,
	}
	plain := Server{
		Name: "b", ID: "b", Host: "10.0.0.2", RPCAddress: "10.0.0.2:8300", Status: StatusAlive, Datacenter: "dc1",
		WANPort: 8302, GRPCTLSPort: 8503,
	}
	server := Agent{
		Name: "a", ID: "a", Datacenter: "dc1", Server: true, AdvertiseAddr: "10.0.0.1", ClientAddrs: []string{"0.0.0.0"},
		ports: grpcTLS, GRPCOwnCA: true,
	}
	with := func(change func(*Agent)) Agent {
		agent := server
		change(&agent)
		return agent
	}
	authority := &tls.Config{RootCAs: x509.NewCertPool()}
	const name = " tls=server.dc1.consul"
	for _, tc := range []struct {
		name     string
		agent    Agent
		protocol Protocol
		config   *tls.Config
		want     []string
		doubtful string
	}{
		{
			name: "TLS half rolled out", agent: with(func(a *Agent) { a.RPCTLS = true }), protocol: ProtocolRPC,
			want: []string{"a rpc/tcp 10.0.0.1:8300" + name, "b rpc/tcp 10.0.0.2:8300"},
		},
		{
			name: "the agent has no TLS yet, and there is an authority", agent: server, protocol: ProtocolRPC,
			config: authority,
			want:   []string{"a rpc/tcp 10.0.0.1:8300" + name, "b rpc/tcp 10.0.0.2:8300"},
		},
		{
			name: "the agent has no TLS yet, and there is no authority", agent: server, protocol: ProtocolRPC,
			want: []string{"a rpc/tcp 10.0.0.1:8300", "b rpc/tcp 10.0.0.2:8300"}, doubtful: "a rpc/tcp",
		},
		{
			name: "WAN federation through mesh gateways", agent: with(func(a *Agent) { a.WANThroughGateways = true }),
			protocol: ProtocolSerfWAN,
			want: []string{
				"a serf_wan/tcp 10.0.0.1:8302", "a serf_wan/udp 10.0.0.1:8302 unasked:mesh_gateways",
				"b serf_wan/tcp 10.0.0.2:8302 tentative", "b serf_wan/udp 10.0.0.2:8302 unasked:mesh_gateways",
			},
			doubtful: "b serf_wan/tcp",
		},
		{
			name: "a client does not know about it", agent: Agent{Name: "client"}, protocol: ProtocolSerfWAN,
			want: []string{
				"a serf_wan/tcp+udp 10.0.0.1:8302 tentative", "b serf_wan/tcp+udp 10.0.0.2:8302 tentative",
			},
			doubtful: "a serf_wan/tcp, a serf_wan/udp, b serf_wan/tcp, b serf_wan/udp",
		},
		{
			name: "the mesh is off", agent: with(func(a *Agent) { a.MeshOff = true }), protocol: ProtocolGRPCTLS,
			want: []string{
				"a grpc_tls/tcp 10.0.0.1:8503 unasked:no_certificate", "b grpc_tls/tcp 10.0.0.2:8503 unasked:no_certificate",
			},
		},
		{
			name: "peering is off", agent: with(func(a *Agent) { a.PeeringOff = true }), protocol: ProtocolGRPCTLS,
			want: []string{
				"a grpc_tls/tcp 10.0.0.1:8503 unasked:no_certificate", "b grpc_tls/tcp 10.0.0.2:8503 unasked:no_certificate",
			},
		},
		{
			name:     "the mesh is off, and gRPC has a certificate on the server that has TLS",
			agent:    with(func(a *Agent) { a.MeshOff, a.GRPCOwnCA = true, false }),
			protocol: ProtocolGRPCTLS,
			want: []string{
				"a grpc_tls/tcp 10.0.0.1:8503 tls=10.0.0.1", "b grpc_tls/tcp 10.0.0.2:8503 unasked:no_certificate",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pl := &planner{
				opts: PortOptions{Protocols: []Protocol{tc.protocol}}, rpcConfig: tc.config,
				configured: consul.Address{Scheme: "http", Host: "10.0.0.1:8500"},
				topology:   Topology{Servers: []Server{secure, plain}}, agent: &tc.agent,
			}
			ports := pl.ports()
			expectSame(t, "ports", tc.want, planned(ports))
			var doubtful []string
			for _, p := range ports {
				if p.doubtful {
					doubtful = append(doubtful, p.Server+" "+string(p.Protocol)+"/"+p.Transport)
				}
			}
			expectSame(t, "in doubt", tc.doubtful, strings.Join(doubtful, ", "))
		})
	}
}

// If the token may read neither the members nor the agent, nothing says whether servers want TLS. The form of the
// question is a guess then, and not repeated to a server that closes the connection.
func TestPlan_GuessedTLS(t *testing.T) {
	t.Parallel()
	unnamed := Server{Name: "10.0.0.1:8300", Host: "10.0.0.1", RPCAddress: "10.0.0.1:8300"}
	member := Server{
		Name: "a", Host: "10.0.0.1", RPCAddress: "10.0.0.1:8300", Status: StatusAlive, LANPort: 8301, Datacenter: "dc1",
	}
	for _, tc := range []struct {
		name     string
		server   Server
		agent    *Agent
		opts     PortOptions
		config   *tls.Config
		doubtful bool
	}{
		{"nothing is known", unnamed, nil, PortOptions{}, nil, true},
		{"the same, with an authority", unnamed, nil, PortOptions{}, &tls.Config{RootCAs: x509.NewCertPool()}, true},
		{"the user says so", unnamed, nil, PortOptions{RPCTLS: RPCTLSOff}, nil, false},
		{"the agent says so", unnamed, &Agent{Name: "a"}, PortOptions{}, nil, false},
		{"its tags say so", member, nil, PortOptions{}, nil, false},
	} {
		pl := &planner{
			opts: tc.opts, rpcConfig: tc.config, configured: consul.Address{Scheme: "http", Host: "10.0.0.1:8500"},
			topology: Topology{Servers: []Server{tc.server}}, agent: tc.agent,
		}
		if ports := pl.rpcs(); len(ports) != 1 || ports[0].doubtful != tc.doubtful {
			t.Errorf("%s: %+v; want one port, in doubt: %v", tc.name, ports, tc.doubtful)
		}
	}
}

// A port that gets its certificate from the service mesh has none before there was a leader. That is no finding.
func TestJudgeCertificate(t *testing.T) {
	t.Parallel()
	without := probe.Result{
		Reason: probe.ReasonTLS, Err: &net.OpError{Op: "remote error", Err: tls.AlertError(112)}, // Unrecognized name.
	}
	for _, tc := range []struct {
		name   string
		mesh   bool
		result probe.Result
		want   probe.Reason
	}{
		{"none yet", true, without, "no_certificate"},
		{"one of its own, that cannot be used", false, without, probe.ReasonTLS},
		{"one of another authority", true, expired, probe.ReasonTLS},
		{"the server is down", true, silence, probe.ReasonTimeout},
	} {
		r := PortReport{Port: Port{Protocol: ProtocolGRPCTLS, OfMesh: tc.mesh}, Result: tc.result}
		r.judgeCertificate()
		if r.Result.Reason != tc.want || r.Unasked() != (tc.want == "no_certificate") {
			t.Errorf("%s: the report is %+v; want reason %q", tc.name, r, tc.want)
		}
	}
}

// While TLS is being introduced, servers without certificates show one of the service mesh's authority on port 8503.
func TestPlan_GRPCOwnCA(t *testing.T) {
	t.Parallel()
	secure, plain := Server{Name: "a", ID: "a", UsesTLS: true}, Server{Name: "b", ID: "b"}
	both := Topology{Servers: []Server{secure, plain}}
	for _, tc := range []struct {
		name          string
		agent         Agent
		topology      Topology
		secure, plain bool
	}{
		{"asked is the one with certificates", Agent{Name: "a", ID: "a", Server: true, ports: grpcTLS}, both, false, true},
		{"asked is the other", Agent{Name: "b", ID: "b", Server: true, ports: grpcTLS, GRPCOwnCA: true}, both, false, true},
		{
			"certificates for RPC only",
			Agent{Name: "a", ID: "a", Server: true, ports: grpcTLS, GRPCOwnCA: true},
			Topology{Servers: []Server{secure}},
			true, true,
		},
		{"asked is a client", Agent{Name: "c", ID: "c", ports: grpcTLS}, both, false, false},
	} {
		pl := &planner{topology: tc.topology, agent: &tc.agent}
		if got := pl.grpcOwnCA(secure); got != tc.secure {
			t.Errorf("%s: with certificates: own CA %v; want %v", tc.name, got, tc.secure)
		}
		if got := pl.grpcOwnCA(plain); got != tc.plain {
			t.Errorf("%s: without: own CA %v; want %v", tc.name, got, tc.plain)
		}
		if got, want := pl.wantsMeshCA(), tc.secure || tc.plain; got != want {
			t.Errorf("%s: wants the mesh's authority: %v; want %v", tc.name, got, want)
		}
	}
}

// Agents that send gossip in plain text while encryption is being introduced accept it; those that encrypt it do so
// because all have a key.
func TestPlan_EncryptionHalfRolledOut(t *testing.T) {
	t.Parallel()
	keys := [][]byte{make([]byte, 32)}
	topology := Topology{Servers: []Server{{Name: "a", Host: "10.0.0.1", Status: StatusAlive, LANPort: 8301}}}
	for _, tc := range []struct {
		name            string
		agent           Agent
		keys            [][]byte
		encrypted, only bool
	}{
		{"no key at the agent", Agent{Server: true}, keys, false, false},
		{"a key that is not used yet", Agent{Server: true, EncryptedLAN: true, PlainGossip: true}, keys, false, false},
		{"the same, and we have none", Agent{Server: true, EncryptedLAN: true, PlainGossip: true}, nil, false, false},
		{"encrypted", Agent{Server: true, EncryptedLAN: true}, keys, true, false},
		{"encrypted, and we have no key", Agent{Server: true, EncryptedLAN: true}, nil, true, true},
	} {
		opts := PortOptions{Protocols: []Protocol{ProtocolSerfLAN}}
		pl := &planner{opts: opts, topology: topology, agent: &tc.agent, serfKeys: tc.keys}
		for _, p := range pl.ports() {
			if p.Serf.Encrypted != tc.encrypted || p.ConnectOnly() != tc.only || len(p.Serf.Keys) != len(tc.keys) {
				t.Errorf("%s: %s is asked encrypted %v, connected to only %v, with %d keys; want %v, %v, %d",
					tc.name, p.Transport, p.Serf.Encrypted, p.ConnectOnly(), len(p.Serf.Keys), tc.encrypted, tc.only, len(tc.keys))
			}
		}
	}
}

// How probes end.
var (
	up         = probe.Result{Up: true, Verified: true}
	turnedAway = probe.Result{Reason: probe.ReasonTLS, Err: tls.RecordHeaderError{Msg: "not TLS"}}
	closed     = probe.Result{Reason: probe.ReasonLimit, Err: errors.New("closed")}
	reset      = probe.Result{Reason: probe.ReasonReset, Err: errors.New("reset")}
	silence    = probe.Result{Reason: probe.ReasonTimeout, Err: context.DeadlineExceeded}
	noRoute    = probe.Result{Reason: probe.ReasonUnreachable, Err: errors.New("no route")}
	otherKey   = probe.Result{Reason: probe.ReasonAuth, Err: errors.New("other key")}
	expired    = probe.Result{
		Reason: probe.ReasonTLS, Err: &tls.CertificateVerificationError{Err: errors.New("expired")},
	}
)

// A probe that the server turned away, or may have misunderstood, is not repeated, until our certificate or the
// server changes.
func TestRefusedProbes(t *testing.T) {
	t.Parallel()
	certified := func(der string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{[]byte(der)}}}}
	}
	port := Port{Transport: TransportTCP, Address: "10.0.0.1:8300", tls: certified("one"), agent: "a 1.22.5 alive"}
	doubtful := Port{Transport: TransportTCP, Address: "10.0.0.1:8300", doubtful: true}
	udp := Port{Transport: TransportUDP, Address: "10.0.0.1:8302", doubtful: true}
	for _, tc := range []struct {
		name   string
		port   Port
		result probe.Result
		again  func(*Port)
		held   bool
	}{
		{"turned away", port, turnedAway, nil, true},
		{"another certificate", port, turnedAway, func(p *Port) { p.tls = certified("two") }, false},
		{"the server was upgraded", port, turnedAway, func(p *Port) { p.agent = "a 1.22.6 alive" }, false},
		{"what we do not accept ourselves", port, expired, nil, false},
		{"silence", port, silence, nil, false},
		{"a connection that is closed", port, closed, nil, false},
		{"plain text where TLS may be wanted", doubtful, closed, nil, true},
		{"a server that hangs", doubtful, silence, nil, false},
		{"a datagram that may be misunderstood", udp, silence, nil, true},
		{"a datagram that nobody got", udp, noRoute, nil, false},
	} {
		c := newTestCluster(t, Options{}, nil)
		c.noteProbe(&PortReport{Port: tc.port, Result: tc.result})
		again := tc.port
		if tc.again != nil {
			tc.again(&again)
		}
		report, held := c.refusedProbe(again)
		if held != tc.held {
			t.Errorf("%s: held back is %v; want %v", tc.name, held, tc.held)
		}
		res := &report.Result
		if held && (!res.Skipped || res.Reason != probe.ReasonHeldBack || !errors.Is(res.Err, tc.result.Err)) {
			t.Errorf("%s: the report is %+v; want that nothing was asked, and why", tc.name, report)
		}
		c.noteProbe(&PortReport{Port: tc.port, Result: up})
		if _, held := c.refusedProbe(tc.port); held {
			t.Errorf("%s: what was answered since is still held back", tc.name)
		}
	}
}

// Gossip keys are tried in turn, and the one that a pool knows comes first from then on.
func TestUsableKeys(t *testing.T) {
	t.Parallel()
	old, current := []byte(strings.Repeat("o", 32)), []byte(strings.Repeat("c", 32))
	keys := [][]byte{old, current}
	c := newTestCluster(t, Options{}, nil)
	port := func(address string) Port {
		return Port{Protocol: ProtocolSerfLAN, Transport: TransportTCP, Address: address, Serf: probe.SerfTarget{
			Encrypted: true, Keys: c.usableKeys(ProtocolSerfLAN, address, keys),
		}}
	}
	expectSame(t, "first", [][]byte{old, current}, port("a").Serf.Keys)
	c.noteProbe(&PortReport{Port: port("a"), Result: otherKey})
	expectSame(t, "after a refusal", [][]byte{current, old}, port("a").Serf.Keys)
	c.noteProbe(&PortReport{Port: port("a"), Result: up})
	expectSame(t, "another port of the pool", [][]byte{current, old}, port("b").Serf.Keys)
	c.noteProbe(&PortReport{Port: port("b"), Result: otherKey})
	c.noteProbe(&PortReport{Port: port("b"), Result: otherKey})
	if got := port("b").Serf.Keys; got != nil {
		t.Errorf("a port that refused all keys is asked with %d of them", len(got))
	}
}

// A question that was answered is not doubtful: one failure after it is only that, and the second in a row may be a
// misunderstanding.
func TestRefusedProbes_Answered(t *testing.T) {
	t.Parallel()
	plain := Port{Protocol: ProtocolRPC, Transport: TransportTCP, Address: "10.0.0.1:8300", doubtful: true, agent: "alive"}
	ping := func(host string) Port {
		return Port{Protocol: ProtocolSerfWAN, Transport: TransportUDP, Address: host + ":8302", doubtful: true}
	}
	type step struct {
		port   Port
		result probe.Result
	}
	changed := plain
	changed.agent = "failed"
	for _, tc := range []struct {
		name  string
		steps []step
		port  Port
		held  bool
	}{
		{"one failure after an answer", []step{{plain, up}, {plain, reset}}, plain, false},
		{"two failures after an answer", []step{{plain, up}, {plain, reset}, {plain, reset}}, plain, true},
		{"an answer between two failures", []step{{plain, up}, {plain, reset}, {plain, up}, {plain, reset}}, plain, false},
		{
			"another server of the pool answered",
			[]step{{ping("a"), up}, {ping("b"), silence}, {ping("b"), silence}},
			ping("b"), false,
		},
		{"no server of the pool answered", []step{{ping("a"), silence}}, ping("a"), true},
	} {
		c := newTestCluster(t, Options{}, nil)
		for _, s := range tc.steps {
			c.noteProbe(&PortReport{Port: s.port, Result: s.result})
		}
		if _, held := c.refusedProbe(tc.port); held != tc.held {
			t.Errorf("%s: held back is %v; want %v", tc.name, held, tc.held)
		}
	}
	// The server's state changes, and is the same again: much may have changed meanwhile.
	c := newTestCluster(t, Options{}, nil)
	c.noteProbe(&PortReport{Port: plain, Result: reset})
	if _, held := c.refusedProbe(plain); !held {
		t.Error("a doubtful question is not held back")
	}
	for _, port := range []Port{changed, plain} {
		if _, held := c.refusedProbe(port); held {
			t.Errorf("held back after the server's state has changed, while it is %s", port.agent)
		}
	}
}
