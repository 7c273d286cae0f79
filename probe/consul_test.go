// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// source is the address that the probes of these tests come from: Consul's log lines about them name it.
const source = "127.77.0.1"

// patience is for probes that are expected to be answered, on a machine that does a lot else.
const patience = 20 * time.Second

// dialFrom dials from the source address.
func dialFrom(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{}
	switch ip := net.ParseIP(source); network {
	case "udp":
		d.LocalAddr = &net.UDPAddr{IP: ip}
	default:
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	return d.DialContext(ctx, network, address)
}

func newProber(t *testing.T) *probe.Prober {
	t.Helper()
	p := probe.New(probe.Options{Dial: dialFrom})
	t.Cleanup(p.Close)
	return p
}

// how is what the probes of one agent need to know.
type how struct {
	tls  *tls.Config
	serf probe.SerfTarget
}

// probes are all probes, by name. Those over UDP end with "udp".
var probes = map[string]func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result{
	"rpc": func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result {
		return p.RPC(ctx, probe.Target{Address: address, TLS: h.tls}).Result
	},
	"http": func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result {
		return p.HTTP(ctx, probe.Target{Address: address, TLS: h.tls})
	},
	"grpc": func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result {
		return p.GRPC(ctx, probe.Target{Address: address, TLS: h.tls})
	},
	"dns udp": func(ctx context.Context, p *probe.Prober, address string, _ how) probe.Result {
		return p.DNSUDP(ctx, probe.DNSTarget{Address: address}).Result
	},
	"dns tcp": func(ctx context.Context, p *probe.Prober, address string, _ how) probe.Result {
		return p.DNSTCP(ctx, probe.DNSTarget{Address: address}).Result
	},
	"serf udp": func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result {
		h.serf.Address = address
		return p.SerfUDP(ctx, h.serf)
	},
	"serf tcp": func(ctx context.Context, p *probe.Prober, address string, h how) probe.Result {
		h.serf.Address = address
		return p.SerfTCP(ctx, h.serf)
	},
}

// port is one port of an agent and the name of its probe.
type port struct{ name, number string }

// overTLS, overSerf and udp say which configuration matters to the port.
func (pt port) overTLS() bool  { return slices.Contains([]string{"rpc", "http", "grpc"}, pt.name) }
func (pt port) overSerf() bool { return strings.HasPrefix(pt.name, "serf") }
func (pt port) udp() bool      { return strings.HasSuffix(pt.name, "udp") }
func (pt port) String() string { return pt.name + pt.number }

// ports returns all ports of a server, as the cluster has them with or without TLS.
func ports(secure bool) []port {
	http, grpc := ":8500", ":8502"
	if secure {
		http, grpc = ":8501", ":8503"
	}
	return []port{
		{"rpc", ":8300"},
		{"http", http},
		{"grpc", grpc},
		{"dns udp", ":8600"},
		{"dns tcp", ":8600"},
		{"serf udp", ":8301"},
		{"serf tcp", ":8301"},
		{"serf udp", ":8302"},
		{"serf tcp", ":8302"},
	}
}

// within runs a probe with a timeout.
func (pt port) within(t *testing.T, d time.Duration, p *probe.Prober, addr string, h how) probe.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return probes[pt.name](ctx, p, addr+pt.number, h)
}

func wantUp(t *testing.T, name string, res probe.Result) {
	t.Helper()
	if !res.Up || !res.Verified || res.Reason != "" || res.Err != nil || res.Skipped {
		t.Errorf("%s: got up %t, verified %t, reason %q, error %v, skipped %t; want up and verified",
			name, res.Up, res.Verified, res.Reason, res.Err, res.Skipped)
	}
}

func wantDown(t *testing.T, name string, res probe.Result, reason probe.Reason) {
	t.Helper()
	if res.Up || res.Verified || res.Reason != reason || res.Err == nil {
		t.Errorf("%s: got up %t, verified %t, reason %q, error %v; want down with reason %q",
			name, res.Up, res.Verified, res.Reason, res.Err, reason)
	}
}

// quiet fails the test if the servers have logged anything at WARN or above since it was called.
func quiet(t *testing.T, agents []*consultest.Agent) (check func()) {
	t.Helper()
	marks := make([]int, len(agents))
	for i, a := range agents {
		marks[i] = a.LogMark()
	}
	return func() {
		t.Helper()
		for i, a := range agents {
			for _, line := range consultest.AtLeast(a.LogsSince(marks[i]), "WARN") {
				if !ownNoise(line) {
					t.Errorf("%s: %s", a, line)
				}
			}
		}
	}
}

// ownNoise reports whether this is a line that a cluster writes without any probe: some seconds after its start, or
// when a server was stopped for a while. No line about a connection from the probes is.
func ownNoise(line consultest.LogLine) bool {
	if strings.Contains(line.Raw, source) {
		return false
	}
	return slices.Contains([]string{"agent.server.autopilot", "agent.server.raft"}, line.Module) ||
		// Autopilot asks the servers for their health, and lets none sleep.
		line.Message == "error getting server health from server" ||
		strings.HasPrefix(line.Message, "memberlist: Refuting a suspect message")
}

// members returns the member list as one agent has it.
func members(t *testing.T, a *consultest.Agent, wan bool) string {
	t.Helper()
	list := must.Get(a.Client().Agent().Members(wan))(t)
	// Memberlist shuffles its list now and then.
	slices.SortFunc(list, func(a, b *api.AgentMember) int { return strings.Compare(a.Name, b.Name) })
	b := must.Get(json.MarshalIndent(list, "", " "))(t)
	return string(b)
}

// unchanged fails the test if the member lists have changed since it was called.
func unchanged(t *testing.T, a *consultest.Agent) (check func()) {
	t.Helper()
	lan, wan := members(t, a, false), members(t, a, true)
	return func() {
		t.Helper()
		if diff := cmp.Diff(lan, members(t, a, false)); diff != "" {
			t.Errorf("members of the datacenter (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(wan, members(t, a, true)); diff != "" {
			t.Errorf("servers of all datacenters (-before +after):\n%s", diff)
		}
	}
}

func TestPlainCluster(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{
		Servers: 3,
		// An election, which a busy machine would make, is no quiet affair.
		Config: map[string]any{"performance": map[string]any{"raft_multiplier": 5}},
	})
	p := newProber(t)
	must.Do(t, cluster.WaitMembers(t.Context(), 3))
	poll(t, "the servers know each other between datacenters", func() bool {
		return strings.Count(members(t, cluster.Servers[0], true), `"Name"`) == 3
	})
	check, same := quiet(t, cluster.Servers), unchanged(t, cluster.Servers[0])
	for _, server := range cluster.Servers {
		for _, pt := range ports(false) {
			wantUp(t, server.Name+" "+pt.String(), pt.within(t, patience, p, server.Addr, how{}))
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, ask := range map[string]func(context.Context, probe.DNSTarget) probe.DNSResult{
		"udp": p.DNSUDP, "tcp": p.DNSTCP,
	} {
		res := ask(ctx, probe.DNSTarget{Address: cluster.Servers[0].Addr + ":8600", Domain: "consul."})
		if res.Rcode != 0 || res.Answers == 0 {
			t.Errorf("DNS over %s: got rcode %d and %d answers, want 0 and some", name, res.Rcode, res.Answers)
		}
		res = ask(ctx, probe.DNSTarget{Address: cluster.Servers[0].Addr + ":8600", Domain: "example.test"})
		if !res.Up || res.Rcode == 0 || res.Answers != 0 {
			t.Errorf("DNS over %s, other domain: got up %t, rcode %d and %d answers, want up, an error and none", name, res.Up,
				res.Rcode, res.Answers)
		}
	}

	many(t, p, cluster.Servers, false, how{})
	check()
	same()
	gone(t, cluster.Servers[0], consultest.PortHTTP, consultest.PortGRPC, consultest.PortDNS)

	// A follower hangs, so that the others stay a cluster.
	leader := must.Get(cluster.WaitLeader(t.Context()))(t)
	follower := cluster.Servers[0]
	if follower == leader {
		follower = cluster.Servers[1]
	}
	hang(t, p, follower, false, how{})
}

func TestSecureCluster(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	cluster := consultest.Start(t, consultest.Options{
		Servers: 1, TLS: true, ACL: true, GossipKey: base64.StdEncoding.EncodeToString(key), CertLifetime: 5 * time.Hour,
	})
	server, p := cluster.Servers[0], newProber(t)
	config := cluster.TLSConfig()
	config.ServerName = "server.dc1.consul"
	good := how{tls: config, serf: probe.SerfTarget{Encrypted: true, Keys: [][]byte{key}}}
	expiry := certExpiry(t, server.Addr+":8501", config)
	same := unchanged(t, server)

	each := func(t *testing.T, h how, want func(t *testing.T, pt port, res probe.Result)) {
		t.Helper()
		check := quiet(t, cluster.Servers)
		for _, pt := range ports(true) {
			want(t, pt, pt.within(t, patience, p, server.Addr, h))
		}
		check()
	}
	wantExpiry := func(t *testing.T, pt port, res probe.Result) {
		t.Helper()
		want := time.Time{}
		if pt.overTLS() {
			want = expiry
		}
		if !res.CertExpiry.Equal(want) {
			t.Errorf("%s: got certificate expiry %v, want %v", pt.String(), res.CertExpiry, want)
		}
	}

	t.Run("all is known", func(t *testing.T) {
		each(t, good, func(t *testing.T, pt port, res probe.Result) {
			t.Helper()
			wantUp(t, pt.String(), res)
			wantExpiry(t, pt, res)
			if phases := len(res.Phases); pt.overTLS() && phases != 3 || !pt.overTLS() && phases != 2 {
				t.Errorf("%s: got phases %v", pt.String(), res.Phases)
			}
		})
	})
	t.Run("certificates by callback and no verification", func(t *testing.T) {
		h := good
		h.tls = &tls.Config{
			InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &config.Certificates[0], nil
			},
		}
		each(t, h, func(t *testing.T, pt port, res probe.Result) {
			t.Helper()
			wantUp(t, pt.String(), res)
			wantExpiry(t, pt, res)
		})
	})
	t.Run("no gossip key", func(t *testing.T) {
		h := good
		h.serf.Keys = nil
		each(t, h, func(t *testing.T, pt port, res probe.Result) {
			t.Helper()
			switch {
			case !pt.overSerf():
				wantUp(t, pt.String(), res)
			case pt.udp():
				if !res.Skipped || res.Up || res.Verified || res.Reason != probe.ReasonNoKey || len(res.Phases) != 0 {
					t.Errorf("%s: got %+v, want a skipped result", pt.String(), res)
				}
			default:
				if !res.Up || res.Verified || res.Reason != "" || res.Skipped {
					t.Errorf("%s: got %+v, want up but not verified", pt.String(), res)
				}
			}
		})
	})
	t.Run("two gossip keys", func(t *testing.T) {
		h := good
		h.serf.Keys = [][]byte{key, make([]byte, 16)}
		each(t, h, func(t *testing.T, pt port, res probe.Result) {
			t.Helper()
			wantUp(t, pt.String(), res)
		})
	})
	for name, bad := range map[string]*tls.Config{
		"wrong authority": {
			Certificates: config.Certificates, ServerName: config.ServerName, RootCAs: authority(t).pool,
		},
		"wrong server name":     {Certificates: config.Certificates, ServerName: "server.dc2.consul", RootCAs: config.RootCAs},
		"no client certificate": {ServerName: config.ServerName, RootCAs: config.RootCAs},
		"client certificate of another authority": {
			ServerName: config.ServerName, RootCAs: config.RootCAs,
			Certificates: []tls.Certificate{authority(t).issue(t, leaf{})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good
			h.tls = bad
			each(t, h, func(t *testing.T, pt port, res probe.Result) {
				t.Helper()
				if pt.overTLS() {
					wantDown(t, pt.String(), res, probe.ReasonTLS)
				} else {
					wantUp(t, pt.String(), res)
				}
				wantExpiry(t, pt, res)
			})
		})
	}
	t.Run("many probes", func(t *testing.T) {
		check := quiet(t, cluster.Servers)
		many(t, p, cluster.Servers, true, good)
		check()
		same()
		gone(t, server, consultest.PortHTTPS, consultest.PortGRPCTLS, consultest.PortDNS)
	})
	t.Run("many connections without gossip key", func(t *testing.T) {
		check := quiet(t, cluster.Servers)
		h := good
		h.serf.Keys = nil
		many(t, p, cluster.Servers, true, h)
		check()
	})
	t.Run("server hangs", func(t *testing.T) { hang(t, p, server, true, good) })
	t.Run("server hangs and there is no gossip key", func(t *testing.T) {
		h := good
		h.serf.Keys = nil
		hang(t, p, server, true, h)
	})
	// The server's log says something about this one, hence last.
	t.Run("wrong gossip key", func(t *testing.T) {
		h := good
		h.serf.Keys = [][]byte{make([]byte, 32)}
		for _, pt := range ports(true) {
			switch {
			case !pt.overSerf():
			case pt.udp():
				wantDown(t, pt.String(), pt.within(t, time.Second, p, server.Addr, h), probe.ReasonTimeout)
			default:
				wantDown(t, pt.String(), pt.within(t, patience, p, server.Addr, h), probe.ReasonAuth)
			}
		}
	})
	t.Run("TLS not used", func(t *testing.T) {
		h := good
		h.tls = nil
		for _, pt := range ports(true) {
			if !pt.overTLS() {
				continue
			}
			res := pt.within(t, patience, p, server.Addr, h)
			if res.Up || res.Reason == probe.ReasonTimeout {
				t.Errorf("%s: got up %t, reason %q", pt.String(), res.Up, res.Reason)
			}
		}
	})
}

// many probes every port of every server 200 times, some at once.
func many(t *testing.T, p *probe.Prober, servers []*consultest.Agent, secure bool, h how) {
	t.Helper()
	const rounds, atOnce = 200, 4
	for _, server := range servers {
		for _, pt := range ports(secure) {
			failed := make(chan probe.Result, rounds)
			done := make(chan struct{})
			for range atOnce {
				go func() {
					defer func() { done <- struct{}{} }()
					for range rounds / atOnce {
						if res := pt.within(t, patience, p, server.Addr, h); !res.Up && !res.Skipped {
							failed <- res
						}
					}
				}()
			}
			for range atOnce {
				<-done
			}
			close(failed)
			for res := range failed {
				t.Errorf("%s %s: got reason %q, error %v", server, pt.String(), res.Reason, res.Err)
			}
		}
	}
}

// hang stops a server, probes each port several times, lets the server go on, and wants no word of it in the log.
func hang(t *testing.T, p *probe.Prober, server *consultest.Agent, secure bool, h how) {
	t.Helper()
	const timeout = 500 * time.Millisecond
	check := quiet(t, []*consultest.Agent{server})
	must.Do(t, server.Stop())
	for range 4 {
		type named struct {
			pt  port
			res probe.Result
		}
		results := make(chan named)
		all := ports(secure)
		for _, pt := range all {
			go func() { results <- named{pt, pt.within(t, timeout, p, server.Addr, h)} }()
		}
		for range all {
			r := <-results
			if r.res.Skipped {
				continue
			}
			wantDown(t, r.pt.String(), r.res, probe.ReasonTimeout)
			if r.res.Duration < timeout/2 || r.res.Duration > timeout+5*time.Second {
				t.Errorf("%s: got duration %v, want %v", r.pt.String(), r.res.Duration, timeout)
			}
			want := probe.PhaseRequest
			if r.pt.overTLS() && secure {
				want = probe.PhaseTLS
			}
			if last := len(r.res.Phases) - 1; last != 1 || r.res.Phases[last].Phase != want {
				t.Errorf("%s: got phases %v, want connect and %s", r.pt.String(), r.res.Phases, want)
			}
		}
	}
	for _, number := range []string{":8300", ":8301", ":8302", ":8600"} {
		if !p.Silent(server.Addr + number) {
			t.Errorf("no connection waits for port %s", number)
		}
	}
	must.Do(t, server.Continue())
	for _, pt := range ports(secure) {
		if res := pt.within(t, patience, p, server.Addr, h); !res.Up && !res.Skipped {
			t.Errorf("%s, awake: got reason %q, error %v", pt.String(), res.Reason, res.Err)
		}
	}
	poll(t, "the connections from before are closed", func() bool {
		for _, number := range []string{":8300", ":8301", ":8302", ":8500", ":8501", ":8502", ":8503", ":8600"} {
			if p.Silent(server.Addr + number) {
				return false
			}
		}
		return true
	})
	check()
}

// gone waits until nobody is connected to these ports.
func gone(t *testing.T, a *consultest.Agent, numbers ...int) {
	t.Helper()
	for _, number := range numbers {
		poll(t, "no connection is open", func() bool {
			n, err := a.Connections(number)
			return err == nil && n == 0
		})
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// certExpiry reads the expiry of a server's certificate in its own way.
func certExpiry(t *testing.T, address string, config *tls.Config) time.Time {
	t.Helper()
	conn := must.Get(tls.Dial("tcp", address, config))(t)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].NotAfter
}
