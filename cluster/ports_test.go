// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// planned writes ports as "server protocol/transport address", with what is special about them. What is the same over
// both transports is one line.
func planned(ports []Port) []string {
	var lines []string
	for _, p := range ports {
		line := fmt.Sprintf("%s %s/%s %s", p.Server, p.Protocol, p.Transport, p.Address)
		if p.tls != nil {
			line += " tls=" + p.tls.ServerName
		}
		if p.ConnectOnly() {
			line += " connect-only"
		}
		if p.Unasked() {
			line += " unasked:" + string(p.skip)
		}
		if p.domain != "" {
			line += " domain=" + p.domain
		}
		if p.tentative {
			line += " tentative"
		}
		if n := len(lines); n > 0 && lines[n-1] == strings.Replace(line, "/udp ", "/tcp ", 1) {
			lines[n-1] = strings.Replace(line, "/udp ", "/tcp+udp ", 1)
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPlan(t *testing.T) {
	t.Parallel()
	a := Server{
		Name: "a", ID: "a", Host: "10.0.0.1", RPCAddress: "10.0.0.1:8300", Status: StatusAlive, Datacenter: "dc1",
		LANPort: 8301, WANPort: 8302, GRPCPort: 8502, GRPCTLSPort: 8503,
	}
	b := Server{
		Name: "b", ID: "b", Host: "fd00::2", RPCAddress: "[fd00::2]:9300", Status: StatusFailed, Datacenter: "dc1",
		LANPort: 9301, UsesTLS: true,
	}
	stray := Server{Name: "10.0.0.9:8300", Host: "10.0.0.9", RPCAddress: "10.0.0.9:8300"}
	topology := Topology{Servers: []Server{stray, a, b}}
	serverAgent := Agent{
		Name: "a", ID: "a", Datacenter: "dc1", Server: true, AdvertiseAddr: "10.0.0.1", ClientAddrs: []string{"0.0.0.0"},
		ports: map[Protocol]int{ProtocolHTTP: 8500, ProtocolDNS: 8600, ProtocolGRPC: 8502}, Domain: "consul",
	}
	clientAgent := Agent{
		Name: "client", Datacenter: "dc1", ClientAddrs: []string{"127.0.0.1"},
		ports: map[Protocol]int{ProtocolHTTP: 8500}, Domain: "corp",
	}
	secured := Agent{
		Name: "a", ID: "a", Datacenter: "dc1", Server: true, ClientAddrs: []string{"127.0.0.1"},
		ports:  map[Protocol]int{ProtocolHTTPS: 8501, ProtocolGRPCTLS: 8503},
		Domain: "corp", RPCTLS: true, EncryptedLAN: true, EncryptedWAN: true,
	}
	gossip := func(suffix string) []string {
		return []string{
			"10.0.0.9:8300 rpc/tcp 10.0.0.9:8300", "a rpc/tcp 10.0.0.1:8300",
			"a serf_lan/tcp+udp 10.0.0.1:8301" + suffix, "a serf_wan/tcp+udp 10.0.0.1:8302" + suffix,
			"b rpc/tcp [fd00::2]:9300", "b serf_lan/tcp+udp [fd00::2]:9301" + suffix,
		}
	}
	guessedWAN := gossip("")
	guessedWAN[3] += " tentative"
	unknown := []string{
		"a http/tcp :0 unasked:unknown_address", "a grpc/tcp :8502 unasked:unknown_address",
		"a grpc_tls/tcp :8503 tls= unasked:unknown_address", "b http/tcp :0 unasked:unknown_address",
	}
	for _, tc := range []struct {
		name    string
		agent   *Agent
		opts    PortOptions
		keys    [][]byte
		agentAt string
		want    []string
	}{
		{
			name: "a server that others can reach", agent: &serverAgent,
			want: append(gossip(""),
				"a http/tcp 10.0.0.1:8500", "a grpc/tcp 10.0.0.1:8502", "a dns/tcp+udp 10.0.0.1:8600 domain=consul",
				"b http/tcp [fd00::2]:8500 tentative", "b dns/tcp+udp [fd00::2]:8600 domain=consul tentative"),
		},
		{
			name: "a client agent: its own ports only, as it tells nothing about the servers'", agent: &clientAgent,
			want: append(guessedWAN, append([]string{"client http/tcp localhost:8500"}, unknown...)...),
		},
		{
			name: "behind a socket", agent: &clientAgent, agentAt: "unix:///s",
			want: append(guessedWAN, append([]string{"client http/tcp 127.0.0.1:8500"}, unknown...)...),
		},
		{
			name: "only some protocols, of all servers", agent: &clientAgent,
			opts: PortOptions{Protocols: []Protocol{ProtocolHTTP, ProtocolGRPC}, ClientPorts: ClientPortsServers},
			want: []string{"a http/tcp 10.0.0.1:8500", "a grpc/tcp 10.0.0.1:8502", "b http/tcp [fd00::2]:8500"},
		},
		{
			name: "no client ports", agent: &serverAgent, opts: PortOptions{ClientPorts: ClientPortsOff},
			want: gossip(""),
		},
		{
			name: "nothing known of the agent: gossip may be encrypted, and 8300 of b can do TLS",
			want: []string{
				"10.0.0.9:8300 rpc/tcp 10.0.0.9:8300", "a rpc/tcp 10.0.0.1:8300",
				"a serf_lan/tcp 10.0.0.1:8301 connect-only",
				"a serf_lan/udp 10.0.0.1:8301 connect-only unasked:unknown_encryption",
				"a serf_wan/tcp 10.0.0.1:8302 connect-only tentative",
				"a serf_wan/udp 10.0.0.1:8302 connect-only unasked:unknown_encryption",
				"b rpc/tcp [fd00::2]:9300 tls=server.dc1.consul", "b serf_lan/tcp [fd00::2]:9301 connect-only",
				"b serf_lan/udp [fd00::2]:9301 connect-only unasked:unknown_encryption",
			},
		},
		{
			name:  "TLS, which a does not have yet, and encryption, with a key",
			agent: &secured, agentAt: "https://localhost:8501",
			keys: [][]byte{make([]byte, 32)},
			opts: PortOptions{Protocols: []Protocol{ProtocolRPC, ProtocolSerfLAN, ProtocolHTTPS, ProtocolGRPCTLS}},
			want: []string{
				"10.0.0.9:8300 rpc/tcp 10.0.0.9:8300 tls=server.dc1.corp",
				"a rpc/tcp 10.0.0.1:8300", "a serf_lan/tcp+udp 10.0.0.1:8301",
				"b rpc/tcp [fd00::2]:9300 tls=server.dc1.corp", "b serf_lan/tcp+udp [fd00::2]:9301",
				"a https/tcp localhost:8501 tls=localhost", "a grpc_tls/tcp localhost:8503 tls=localhost",
				"b https/tcp :0 tls= unasked:unknown_address",
			},
		},
		{
			name: "encryption without a key", agent: &secured, opts: PortOptions{Protocols: []Protocol{ProtocolSerfWAN}},
			want: []string{"a serf_wan/tcp+udp 10.0.0.1:8302 connect-only"},
		},
		{
			name: "TLS on 8300 forced off and on", agent: &secured,
			opts: PortOptions{Protocols: []Protocol{ProtocolRPC}, RPCTLS: RPCTLSOff},
			want: []string{"10.0.0.9:8300 rpc/tcp 10.0.0.9:8300", "a rpc/tcp 10.0.0.1:8300", "b rpc/tcp [fd00::2]:9300"},
		},
		{
			name: "hosts that may not be talked to", agent: &serverAgent,
			opts: PortOptions{Allowed: func(host string) bool { return strings.HasPrefix(host, "fd00:") }},
			want: []string{
				"10.0.0.9:8300 rpc/tcp 10.0.0.9:8300 unasked:not_allowed", "a rpc/tcp 10.0.0.1:8300 unasked:not_allowed",
				"a serf_lan/tcp+udp 10.0.0.1:8301 unasked:not_allowed", "a serf_wan/tcp+udp 10.0.0.1:8302 unasked:not_allowed",
				"b rpc/tcp [fd00::2]:9300", "b serf_lan/tcp+udp [fd00::2]:9301",
				"a http/tcp 10.0.0.1:8500 unasked:not_allowed", "a grpc/tcp 10.0.0.1:8502 unasked:not_allowed",
				"a dns/tcp+udp 10.0.0.1:8600 unasked:not_allowed domain=consul",
				"b http/tcp [fd00::2]:8500 tentative", "b dns/tcp+udp [fd00::2]:8600 domain=consul tentative",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.agentAt == "" {
				tc.agentAt = "http://localhost:8500"
			}
			pl := &planner{
				opts: tc.opts, configured: must.Get(consul.ParseAddress(tc.agentAt))(t), topology: topology, agent: tc.agent,
				serfKeys: tc.keys,
			}
			expectSame(t, "ports", tc.want, planned(pl.ports()))
			if tc.opts.Allowed == nil && len(pl.rpcs()) != 3 {
				t.Errorf("port 8300 of %v is asked; want that of all servers, whatever is shown", planned(pl.rpcs()))
			}
		})
	}
}

// A host can have several addresses, and each port its own among them. What only the agent's own host reaches is not
// asked from another one.
func TestPlan_SeveralAddresses(t *testing.T) {
	t.Parallel()
	topology := Topology{Servers: []Server{
		{Name: "a", ID: "a", Host: "10.0.0.1", Status: StatusAlive, Datacenter: "dc1", WANPort: 8302, GRPCPort: 8502},
		{Name: "b.c", ID: "b", Host: "10.0.0.2", Status: StatusAlive, Datacenter: "dc1", WANPort: 8302, GRPCPort: 8502},
	}}
	const unknown = " unasked:unknown_address"
	others := []string{"b.c http/tcp :0" + unknown, "b.c grpc/tcp :8502" + unknown, "b.c dns/tcp+udp :0" + unknown}
	offered := "b.c http/tcp 10.0.0.2:8500 tentative"
	wanOnly := PortOptions{Protocols: []Protocol{ProtocolSerfWAN}}
	wan := map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.9"}
	for _, tc := range []struct {
		name, agentAt string
		// The listeners of the agent, which is server a and advertises 10.0.0.1, as in its answer.
		http, dns, grpc []string
		bind, wanBind   string
		wan             map[string]string
		opts            PortOptions
		want            []string
	}{
		{
			name: "as the client address", agentAt: "http://localhost:8500",
			want: append([]string{"a http/tcp localhost:8500", "a grpc/tcp localhost:8502", "a dns/tcp+udp localhost:8600"},
				others...),
		},
		{
			name: "DNS on the bridge of the containers", agentAt: "http://localhost:8500",
			dns: []string{"tcp://172.17.0.1:8600", "udp://172.17.0.1:8600"},
			want: append([]string{"a http/tcp localhost:8500", "a grpc/tcp localhost:8502", "a dns/tcp+udp 172.17.0.1:8600"},
				others...),
		},
		{
			name: "HTTP for all, gRPC for the host, asked on the host", agentAt: "http://127.0.0.1:8500",
			http: []string{"tcp://[::]:8500"},
			grpc: []string{"tcp://127.0.0.1:8502", "unix:///grpc"}, dns: []string{"tcp://10.0.0.1:8600", "udp://10.0.0.1:8600"},
			want: []string{
				"a http/tcp 10.0.0.1:8500", "a grpc/tcp 127.0.0.1:8502", "a dns/tcp+udp 10.0.0.1:8600",
				offered, "b.c grpc/tcp :8502" + unknown, "b.c dns/tcp+udp 10.0.0.2:8600 tentative",
			},
		},
		{
			name: "HTTP for all, the rest for the host, asked from elsewhere", agentAt: "http://10.0.0.1:8500",
			http: []string{"tcp://0.0.0.0:8500"},
			want: []string{
				"a http/tcp 10.0.0.1:8500", "a grpc/tcp :8502 unasked:loopback_only", "a dns/tcp+udp :8600 unasked:loopback_only",
				offered, "b.c grpc/tcp :8502" + unknown, "b.c dns/tcp+udp :0" + unknown,
			},
		},
		{
			name: "all on an interface for management", agentAt: "http://192.168.0.1:8500",
			http: []string{"tcp://192.168.0.1:8500"},
			dns:  []string{"tcp://192.168.0.1:8600"}, grpc: []string{"tcp://127.0.0.1:8502"},
			want: append([]string{
				"a http/tcp 192.168.0.1:8500", "a grpc/tcp :8502 unasked:loopback_only", "a dns/tcp+udp 192.168.0.1:8600",
			}, others...),
		},
		{
			name: "HTTP on a socket only, DNS for all", agentAt: "unix:///s", http: []string{"unix:///s"},
			dns:  []string{"tcp://0.0.0.0:8600"},
			want: append([]string{"a grpc/tcp 127.0.0.1:8502", "a dns/tcp+udp 127.0.0.1:8600"}, others...),
		},
		{
			name: "what the agent names is bound by the list of what may be asked", agentAt: "http://10.0.0.1:8500",
			http: []string{"tcp://0.0.0.0:8500"},
			dns:  []string{"tcp://198.51.100.1:8600"}, grpc: []string{"tcp://192.168.0.1:8502"},
			opts: PortOptions{Allowed: func(host string) bool { return !strings.HasPrefix(host, "198.") }},
			want: []string{
				"a http/tcp 10.0.0.1:8500", "a grpc/tcp 192.168.0.1:8502", "a dns/tcp+udp 198.51.100.1:8600 unasked:not_allowed",
				offered, "b.c grpc/tcp :8502" + unknown, "b.c dns/tcp+udp :0" + unknown,
			},
		},
		{
			name: "the WAN pool on an interface of its own", agentAt: "unix:///s", bind: "0.0.0.0",
			wanBind: "tcp://192.0.2.1:8302", wan: wan, opts: wanOnly,
			want: []string{"a serf_wan/tcp+udp 192.0.2.1:8302", "b.c serf_wan/tcp+udp 192.0.2.2:8302"},
		},
		{
			name: "the same, and some of it may not be asked", agentAt: "unix:///s", bind: "0.0.0.0",
			wanBind: "tcp://192.0.2.1:8302", wan: wan,
			opts: PortOptions{
				Protocols: []Protocol{ProtocolSerfWAN}, Allowed: func(host string) bool { return host != "192.0.2.2" },
			},
			want: []string{"a serf_wan/tcp+udp 192.0.2.1:8302", "b.c serf_wan/tcp+udp 192.0.2.2:8302 unasked:not_allowed"},
		},
		{
			name: "the same, and nobody knows the addresses", agentAt: "unix:///s", bind: "0.0.0.0",
			wanBind: "tcp://192.0.2.1:8302", opts: wanOnly,
			want: []string{"a serf_wan/tcp+udp 192.0.2.1:8302", "b.c serf_wan/tcp+udp :8302" + unknown},
		},
		{
			name: "the WAN pool behind address translation", agentAt: "unix:///s", bind: "172.16.0.1",
			wanBind: "tcp://172.16.0.1:8302", wan: wan, opts: wanOnly,
			want: []string{"a serf_wan/tcp+udp 10.0.0.1:8302", "b.c serf_wan/tcp+udp 10.0.0.2:8302 tentative"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var self agentSelf
			self.Config.NodeName, self.Config.NodeID, self.Config.Datacenter, self.Config.Server = "a", "a", "dc1", true
			self.Member.Addr = "10.0.0.1"
			config := &self.DebugConfig
			config.ClientAddrs, config.HTTPPort, config.GRPCPort, config.DNSPort = []string{"127.0.0.1"}, 8500, 8502, 8600
			config.HTTPAddrs, config.DNSAddrs, config.GRPCAddrs = tc.http, tc.dns, tc.grpc
			config.BindAddr, config.SerfBindAddrWAN = tc.bind, tc.wanBind
			agent, configured := must.Get(newAgent(&self))(t), must.Get(consul.ParseAddress(tc.agentAt))(t)
			if tc.opts.Protocols == nil {
				tc.opts.Protocols = []Protocol{ProtocolHTTP, ProtocolGRPC, ProtocolDNS}
			}
			pl := &planner{opts: tc.opts, configured: configured, topology: topology, agent: &agent, wanHosts: tc.wan}
			expectSame(t, "ports", tc.want, planned(pl.ports()))
		})
	}
}

func TestParseProtocols(t *testing.T) {
	t.Parallel()
	if got, err := ParseProtocols(nil); err != nil || !slices.Equal(got, Protocols()) {
		t.Errorf("no names: %v, %v; want all", got, err)
	}
	got, err := ParseProtocols([]string{"dns", "rpc"})
	if err != nil || !slices.Equal(got, []Protocol{ProtocolDNS, ProtocolRPC}) {
		t.Errorf("two names: %v, %v", got, err)
	}
	_, err = ParseProtocols([]string{"gopher"})
	if err == nil || !strings.HasSuffix(err.Error(), "there are: "+joinWords(Protocols())) {
		t.Errorf("error %v; want one that lists what there is", err)
	}
}

// A gossip port that rejected all keys is held back until there are others, over UDP too; the ports next to it are
// asked as ever.
func TestPlan_KeysRefused(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	c := newTestCluster(t, Options{Ports: PortOptions{
		SerfKeys: func() [][]byte { return [][]byte{key} }, Protocols: []Protocol{ProtocolSerfLAN},
	}}, nil)
	topology := Topology{Servers: []Server{
		{Name: "a", Host: "10.0.0.1", LANPort: 8301, Status: StatusAlive},
		{Name: "b", Host: "10.0.0.2", LANPort: 8301, Status: StatusAlive},
	}}
	agent := Agent{Name: "x", EncryptedLAN: true}
	expectHeldBack := func(why, want string) (first Port) {
		t.Helper()
		ports := c.planner(new(known), topology, &agent).ports()
		var names []string
		for _, p := range ports {
			ofScrape := &probes{run: func(_ context.Context, port Port) PortReport {
				if report, held := c.refusedProbe(port); held {
					return report
				}
				return PortReport{Port: port, Result: up}
			}, ctx: t.Context(), started: make(map[portKey]*Fact[PortReport])}
			if p = ofScrape.withProvenKey(p); p.rejected != nil {
				names = append(names, p.Server+"/"+p.Transport)
			} else if _, held := c.refusedProbe(p); held {
				names = append(names, p.Server+"/"+p.Transport)
			}
		}
		expectSame(t, why, want, strings.Join(names, " "))
		return ports[0]
	}
	port := expectHeldBack("there is a key", "")
	c.noteProbe(&PortReport{Port: port, Result: silence})
	expectHeldBack("a timeout is no refusal", "")
	c.noteProbe(&PortReport{Port: port, Result: otherKey})
	expectHeldBack("the key was refused", "a/tcp a/udp")
	key = []byte(strings.Repeat("n", 32))
	expectHeldBack("the key is a new one", "")
}
