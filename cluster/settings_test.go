// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var clientProtocols = PortOptions{Protocols: []Protocol{ProtocolHTTP, ProtocolGRPC, ProtocolDNS}}

// What may differ between servers counts only from the server itself, wherever it says so.
func TestPlan_OwnSettings(t *testing.T) {
	t.Parallel()
	topology := Topology{Servers: []Server{
		{Name: "a", ID: "id-a", Host: "10.0.0.1", Status: StatusAlive, Datacenter: "dc1", WANPort: 8302, GRPCPort: 8502},
		{Name: "b", ID: "id-b", Host: "10.0.0.2", Status: StatusAlive, Datacenter: "dc1", WANPort: 9302, GRPCPort: 9502},
	}}
	server := func(name, host string, change func(*Agent)) Agent {
		agent := Agent{
			Name: name, ID: "id-" + name, Datacenter: "dc1", Server: true,
			AdvertiseAddr: host, BindAddr: host, ClientAddrs: []string{host},
			ports: map[Protocol]int{ProtocolHTTP: 8500, ProtocolGRPC: 8502},
		}
		change(&agent)
		return agent
	}
	same := func(*Agent) {}
	wan := PortOptions{Protocols: []Protocol{ProtocolSerfWAN}}
	grpcTLS := PortOptions{Protocols: []Protocol{ProtocolGRPCTLS}}
	gateways := func(a *Agent) { a.WANThroughGateways = true }
	for _, tc := range []struct {
		name string
		a, b func(*Agent)
		opts PortOptions
		want []string // The ports of b.
	}{
		{
			name: "other numbers", a: same, opts: clientProtocols,
			b:    func(b *Agent) { b.ports = map[Protocol]int{ProtocolHTTP: 9500, ProtocolGRPC: 9502, ProtocolDNS: 9600} },
			want: []string{"b http/tcp 10.0.0.2:9500", "b grpc/tcp 10.0.0.2:9502", "b dns/tcp+udp 10.0.0.2:9600"},
		},
		{
			name: "on loopback, unlike the agent", a: same, opts: clientProtocols,
			b:    func(b *Agent) { b.ClientAddrs = []string{"127.0.0.1"} },
			want: []string{"b http/tcp :8500 unasked:loopback_only", "b grpc/tcp :8502 unasked:loopback_only"},
		},
		{
			name: "on another interface", a: same, opts: clientProtocols,
			b: func(b *Agent) {
				b.bound = map[Protocol][]string{ProtocolHTTP: {"127.0.0.1", "192.168.0.2"}, ProtocolGRPC: {}}
			},
			want: []string{"b http/tcp 192.168.0.2:8500"},
		},
		{
			name: "the WAN pool on another interface, unlike the agent", a: same, opts: wan,
			b:    func(b *Agent) { b.WANBindAddr = "192.0.2.2" },
			want: []string{"b serf_wan/tcp+udp 192.0.2.2:9302"},
		},
		{
			name: "the agent's WAN pool on another interface", b: same, opts: wan,
			a:    func(a *Agent) { a.WANBindAddr = "192.0.2.1" },
			want: []string{"b serf_wan/tcp+udp 10.0.0.2:9302"},
		},
		{
			name: "mesh gateways", a: same, b: gateways, opts: wan,
			want: []string{"b serf_wan/tcp 10.0.0.2:9302", "b serf_wan/udp 10.0.0.2:9302 unasked:mesh_gateways"},
		},
		{
			name: "the mesh is off on the agent only", opts: grpcTLS,
			a:    func(a *Agent) { a.MeshOff, a.GRPCOwnCA = true, true },
			b:    func(b *Agent) { b.GRPCOwnCA, b.ports = true, map[Protocol]int{ProtocolGRPCTLS: 8503} },
			want: []string{"b grpc_tls/tcp 10.0.0.2:8503 unasked:unknown_authority"},
		},
	} {
		a, b := server("a", "10.0.0.1", tc.a), server("b", "10.0.0.2", tc.b)
		pl := &planner{
			opts: tc.opts, configured: must.Get(consul.ParseAddress("http://10.0.0.1:8500"))(t), topology: topology, agent: &a,
			own: map[string]Agent{"id-b": b}, wanHosts: map[string]string{"id-a": "10.0.0.1"},
		}
		ports := slices.DeleteFunc(pl.ports(), func(p Port) bool { return p.Server != "b" })
		expectSame(t, tc.name, tc.want, planned(ports))
	}
}

// The WAN pool has the address of a server that tells nothing itself. It counts for nothing if addresses are
// translated.
func TestPlan_WANPool(t *testing.T) {
	t.Parallel()
	topology := Topology{Servers: []Server{
		{Name: "b", ID: "id-b", Host: "10.0.0.2", Status: StatusAlive, Datacenter: "dc1", WANPort: 8302},
	}}
	for _, tc := range []struct {
		name string
		pool map[string]string
		want string
	}{
		{"as in the LAN pool", map[string]string{"id-a": "10.0.0.1", "id-b": "10.0.0.2"}, "10.0.0.2:8302"},
		{"on another interface", map[string]string{"id-a": "10.0.0.1", "id-b": "192.0.2.2"}, "192.0.2.2:8302"},
		{"translated", map[string]string{"id-a": "198.51.100.1", "id-b": "198.51.100.2"}, "10.0.0.2:8302 tentative"},
		{"not in the pool", map[string]string{"id-a": "10.0.0.1"}, "10.0.0.2:8302 tentative"},
	} {
		agent := Agent{Name: "a", ID: "id-a", Datacenter: "dc1", Server: true, AdvertiseAddr: "10.0.0.1"}
		opts := PortOptions{Protocols: []Protocol{ProtocolSerfWAN}}
		pl := &planner{opts: opts, topology: topology, agent: &agent, wanHosts: tc.pool}
		expectSame(t, tc.name, []string{"b serf_wan/tcp+udp " + tc.want}, planned(pl.ports()))
	}
}

// The host of the URL is the agent's only if the agent listens there: in front of it may be a proxy, a load balancer,
// or a port that is published.
func TestPlan_AgentsHost(t *testing.T) {
	t.Parallel()
	const behind = "client http/tcp :8500 unasked:behind_proxy"
	for _, tc := range []struct {
		name, at string
		bound    []string
		resolved []string
		remote   bool // Whether the agent's addresses are of another host.
		server   bool
		want     string
	}{
		{name: "loopback", at: "http://localhost:8500", bound: []string{"127.0.0.1"}, want: "client http/tcp localhost:8500"},
		{
			name: "all, on this host", at: "http://localhost:8500", bound: []string{"0.0.0.0"},
			want: "client http/tcp localhost:8500",
		},
		{
			name: "published from a container under the same number", at: "http://127.0.0.1:8500", bound: []string{"0.0.0.0"},
			remote: true, want: behind,
		},
		{name: "published under another number", at: "http://localhost:18500", bound: []string{"0.0.0.0"}, want: behind},
		{name: "a path", at: "http://localhost:8500/consul", bound: []string{"127.0.0.1"}, want: behind},
		{name: "the scheme's port", at: "https://consul.example", bound: []string{"0.0.0.0"}, want: behind},
		{
			name: "its own address", at: "http://10.0.0.1:8500", bound: []string{"0.0.0.0"},
			want: "client http/tcp 10.0.0.1:8500",
		},
		{name: "another address", at: "http://10.9.9.9:8500", bound: []string{"0.0.0.0"}, want: behind},
		{name: "a name that means nothing", at: "http://consul.example:8500", bound: []string{"0.0.0.0"}, want: behind},
		{
			name: "a name of its address", at: "http://consul.example:8500", bound: []string{"0.0.0.0"},
			resolved: []string{"10.0.0.1"}, want: "client http/tcp consul.example:8500",
		},
		{
			name: "a name of several agents", at: "http://consul.example:8500", bound: []string{"0.0.0.0"},
			resolved: []string{"10.0.0.1", "10.0.0.2"}, want: behind,
		},
		{
			name: "a balancer in front of servers, which are asked at their own addresses", at: "http://10.9.9.9:18500",
			bound: []string{"0.0.0.0"}, server: true, want: "client http/tcp 10.0.0.1:8500",
		},
		{
			name: "a proxy in front of a server", at: "http://proxy:8080/consul", bound: []string{"0.0.0.0"}, server: true,
			want: behind,
		},
	} {
		agent := Agent{
			Name: "client", Server: tc.server, AdvertiseAddr: "10.0.0.1", BindAddr: "0.0.0.0", ClientAddrs: tc.bound,
			ports: map[Protocol]int{ProtocolHTTP: 8500},
		}
		pl := &planner{
			opts: clientProtocols, configured: must.Get(consul.ParseAddress(tc.at))(t), agent: &agent, urlHosts: tc.resolved,
			isLocal: func(string) bool { return !tc.remote },
		}
		expectSame(t, tc.name, []string{tc.want}, planned(pl.ports()))
	}
}

// A port that answered before the exporter started is there, whether or not it answers now.
func TestTentativePorts_Known(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1:1"
	c := newTestCluster(t, Options{Answered: []string{address, "10.0.0.9:8500"}}, nil)
	report := PortReport{
		Port: Port{
			Server: "b", Protocol: ProtocolSerfWAN, Transport: TransportTCP, Address: address, tentative: true,
		},
		Result: probe.Result{Reason: probe.ReasonRefused, Err: errors.New("refused")},
	}
	c.noteProbe(&report)
	c.judgeGuess(&report)
	if report.Unasked() || report.Result.Reason != probe.ReasonRefused {
		t.Errorf("a port that has answered before is %q, unasked %v; want it refused", report.Result.Reason, report.Unasked())
	}
	if got := c.answered.on(map[string]bool{"127.0.0.1": true}); !slices.Equal(got, []string{address}) {
		t.Errorf("to remember: %q; want the address whose host is known", got)
	}
}

// A port whose address is a guess is asked once. If nothing has ever answered there, nothing is known about it; if
// something has, it is a port like any other.
func TestTentativePorts(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Options{}, nil)
	var result probe.Result
	probed := 0
	port := Port{Server: "b", Protocol: ProtocolSerfWAN, Transport: TransportTCP, Address: "127.0.0.1:1", tentative: true}
	ask := func() PortReport {
		if refused, ok := c.refusedProbe(port); ok {
			c.judgeGuess(&refused)
			return refused
		}
		probed++
		report := PortReport{Port: port, Result: result}
		c.noteProbe(&report)
		c.judgeGuess(&report)
		return report
	}
	refused := probe.Result{Reason: probe.ReasonRefused, Err: errors.New("refused")}
	for _, step := range []struct {
		name   string
		state  string // Of the server.
		result probe.Result
		want   string
		probed int
	}{
		{"nothing there", "1", refused, "unasked unknown_address", 1},
		{"not asked again", "1", refused, "unasked unknown_address", 1},
		{"the server has changed", "2", up, "up", 2},
		{"it has answered once: it is down", "2", refused, "refused", 3},
		{"still", "2", refused, "refused", 4},
	} {
		port.agent, result = step.state, step.result
		report := ask()
		got := string(report.Result.Reason)
		switch {
		case report.Unasked():
			got = "unasked " + got
		case report.Result.Up:
			got = "up"
		}
		if got != step.want || probed != step.probed {
			t.Errorf("%s: %s after %d probes; want %s after %d", step.name, got, probed, step.want, step.probed)
		}
	}
}

// A guess that nothing answered is no refusal once the server answers there over the other transport, or says where its
// port is: the port is asked, and has not turned anybody away.
func TestTentativePorts_NoGuessAnyMore(t *testing.T) {
	t.Parallel()
	for name, told := range map[string]bool{"TCP answers": false, "the server tells": true} {
		c := newTestCluster(t, Options{}, nil)
		udp := Port{
			Server: "b", Protocol: ProtocolDNS, Transport: TransportUDP, Address: "127.0.0.1:1", tentative: true,
		}
		report := PortReport{Port: udp, Result: probe.Result{Reason: probe.ReasonTimeout, Err: errors.New("timeout")}}
		c.noteProbe(&report)
		c.judgeGuess(&report)
		if _, held := c.refusedProbe(udp); !held {
			t.Errorf("%s: the wrong guess is asked again at once", name)
		}
		if udp.tentative = !told; !told {
			c.answered.note(udp.Address)
		}
		if held, ok := c.refusedProbe(udp); ok {
			t.Errorf("%s: the port is held back as %v; want it asked", name, held.Result.Err)
		}
	}
}

// Every reason has a note, and is a word for a label.
func TestUnaskedReasons(t *testing.T) {
	t.Parallel()
	for _, reason := range UnaskedReasons() {
		if reason == "" || strings.ContainsAny(string(reason), " -") {
			t.Errorf("reason %q; want a word", reason)
		}
	}
}
