// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
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

func newProber(t *testing.T) *probe.Prober {
	t.Helper()
	p := probe.New(probe.Options{Dial: probe.DialFrom(source)})
	t.Cleanup(p.Close)
	return p
}

// how is what the probes of one agent need to know.
type how struct {
	tls  *tls.Config
	serf probe.SerfTarget
}

// probeBy makes a probe by name. The names of those over UDP end with "udp".
func probeBy(ctx context.Context, name string, p *probe.Prober, address string, h how) probe.Result {
	h.serf.Address = address
	switch name {
	case "rpc":
		return p.RPC(ctx, probe.Target{Address: address, TLS: h.tls}).Result
	case "http":
		return p.HTTP(ctx, probe.Target{Address: address, TLS: h.tls})
	case "grpc":
		return p.GRPC(ctx, probe.Target{Address: address, TLS: h.tls})
	case "dns udp":
		return p.DNSUDP(ctx, probe.DNSTarget{Address: address}).Result
	case "dns tcp":
		return p.DNSTCP(ctx, probe.DNSTarget{Address: address}).Result
	case "serf udp":
		return p.SerfUDP(ctx, h.serf)
	case "serf tcp":
		return p.SerfTCP(ctx, h.serf)
	default:
		panic("there is no probe " + name)
	}
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
	return probeBy(ctx, pt.name, p, addr+pt.number, h)
}

// ask makes a probe with a prober of its own.
func ask(t *testing.T, timeout time.Duration, name, address string, h how) probe.Result {
	t.Helper()
	return port{name: name}.within(t, timeout, newProber(t), address, h)
}

// wantReason wants a port to be up, if the reason is empty, or else down for this reason.
func wantReason(t *testing.T, name string, res probe.Result, reason probe.Reason) {
	t.Helper()
	up := reason == ""
	if res.Up != up || res.Verified != up || res.Reason != reason || (res.Err == nil) != up || res.Skipped {
		t.Errorf("%s: got up %t, verified %t, reason %q, error %v, skipped %t; want reason %q",
			name, res.Up, res.Verified, res.Reason, res.Err, res.Skipped, reason)
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
func members(t *testing.T, a *consultest.Agent, wan bool) []*api.AgentMember {
	t.Helper()
	list := must.Get(a.Client().Agent().Members(wan))(t)
	// Memberlist shuffles its list now and then.
	slices.SortFunc(list, func(a, b *api.AgentMember) int { return strings.Compare(a.Name, b.Name) })
	return list
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
	cluster := consultest.Start(t, consultest.Options{Servers: 3})
	p := newProber(t)
	must.Do(t, cluster.WaitMembers(t.Context(), 3))
	poll(t, "the servers know each other between datacenters", func() bool {
		return len(members(t, cluster.Servers[0], true)) == 3
	})
	check, same := quiet(t, cluster.Servers), unchanged(t, cluster.Servers[0])
	for _, server := range cluster.Servers {
		for _, pt := range ports(false) {
			wantReason(t, server.Name+" "+pt.String(), pt.within(t, patience, p, server.Addr, how{}), "")
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, query := range map[string]func(context.Context, probe.DNSTarget) probe.DNSResult{
		"udp": p.DNSUDP, "tcp": p.DNSTCP,
	} {
		res := query(ctx, probe.DNSTarget{Address: cluster.Servers[0].Addr + ":8600", Domain: "consul."})
		if res.Rcode != 0 || res.Answers == 0 {
			t.Errorf("DNS over %s: got rcode %d and %d answers, want 0 and some", name, res.Rcode, res.Answers)
		}
		res = query(ctx, probe.DNSTarget{Address: cluster.Servers[0].Addr + ":8600", Domain: "example.test"})
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
	key := []byte("0123456789abcdef0123456789abcdef")
	cluster := consultest.Start(t, consultest.Options{
		Servers: 1, TLS: true, ACL: true, GossipKey: base64.StdEncoding.EncodeToString(key), CertLifetime: 5 * time.Hour,
	})
	server, p := cluster.Servers[0], newProber(t)
	config := cluster.TLSConfig()
	config.ServerName = "server.dc1.consul"
	expiry := certExpiry(t, server.Addr+":8501", config)
	same := unchanged(t, server)

	withKeys := func(keys ...[]byte) how {
		return how{tls: config, serf: probe.SerfTarget{Encrypted: true, Keys: keys}}
	}
	good, noKey := withKeys(key), withKeys()
	withTLS := func(config *tls.Config) how { return how{tls: config, serf: good.serf} }

	badTLS := map[string]probe.Reason{
		"bad TLS: wrong authority":                         probe.ReasonTLS,
		"bad TLS: wrong server name":                       probe.ReasonName,
		"bad TLS: no client certificate":                   probe.ReasonCertificate,
		"bad TLS: client certificate of another authority": probe.ReasonCertificate,
	}
	for name, h := range map[string]how{
		"all is known":    good,
		"no gossip key":   noKey,
		"two gossip keys": withKeys(key, make([]byte, 16)),
		"certificates by callback and no verification": withTLS(&tls.Config{
			InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &config.Certificates[0], nil
			},
		}),
		"bad TLS: wrong authority": withTLS(&tls.Config{
			Certificates: config.Certificates, ServerName: config.ServerName, RootCAs: authority(t).pool,
		}),
		"bad TLS: wrong server name": withTLS(&tls.Config{
			Certificates: config.Certificates, ServerName: "server.dc2.consul", RootCAs: config.RootCAs,
		}),
		"bad TLS: no client certificate": withTLS(&tls.Config{ServerName: config.ServerName, RootCAs: config.RootCAs}),
		"bad TLS: client certificate of another authority": withTLS(&tls.Config{
			ServerName: config.ServerName, RootCAs: config.RootCAs,
			Certificates: []tls.Certificate{authority(t).issue(t, leaf{})},
		}),
	} {
		t.Run(name, func(t *testing.T) {
			check := quiet(t, cluster.Servers)
			for _, pt := range ports(true) {
				res := pt.within(t, patience, p, server.Addr, h)
				wantExpiry, wantPhases := time.Time{}, 2
				if pt.overTLS() {
					wantExpiry, wantPhases = expiry, 3
				}
				switch {
				case pt.overTLS() && badTLS[name] != "":
					wantReason(t, pt.String(), res, badTLS[name])
					wantPhases = len(res.Phases) // With TLS 1.3 a refusal may come with the answer.
				case pt.overSerf() && len(h.serf.Keys) == 0 && pt.udp():
					if !res.Skipped || res.Up || res.Verified || res.Reason != probe.ReasonNoKey {
						t.Errorf("%s: got %+v, want a skipped result", pt, res)
					}
					wantPhases = 0
				case pt.overSerf() && len(h.serf.Keys) == 0:
					if !res.Up || res.Verified || res.Reason != "" || res.Skipped {
						t.Errorf("%s: got %+v, want up but not verified", pt, res)
					}
				default:
					wantReason(t, pt.String(), res, "")
				}
				if !res.CertExpiry.Equal(wantExpiry) || len(res.Phases) != wantPhases {
					t.Errorf("%s: got certificate expiry %v and phases %v, want %v and %d phases",
						pt, res.CertExpiry, res.Phases, wantExpiry, wantPhases)
				}
			}
			check()
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
		many(t, p, cluster.Servers, true, noKey)
		check()
	})
	t.Run("server hangs", func(t *testing.T) { hang(t, p, server, true, good) })
	t.Run("server hangs and there is no gossip key", func(t *testing.T) { hang(t, p, server, true, noKey) })
	// The server's log says something about this one, hence last.
	t.Run("wrong gossip key", func(t *testing.T) {
		h := withKeys(make([]byte, 32))
		for _, pt := range ports(true) {
			switch {
			case !pt.overSerf():
			case pt.udp():
				wantReason(t, pt.String(), pt.within(t, time.Second, p, server.Addr, h), probe.ReasonTimeout)
			default:
				wantReason(t, pt.String(), pt.within(t, patience, p, server.Addr, h), probe.ReasonAuth)
			}
		}
	})
	t.Run("TLS not used", func(t *testing.T) {
		for _, pt := range ports(true) {
			res := pt.within(t, patience, p, server.Addr, withTLS(nil))
			if pt.overTLS() && (res.Up || res.Reason == probe.ReasonTimeout) {
				t.Errorf("%s: got up %t, reason %q", pt, res.Up, res.Reason)
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
			var probing sync.WaitGroup
			for range atOnce {
				probing.Go(func() {
					for range rounds / atOnce {
						if res := pt.within(t, patience, p, server.Addr, h); !res.Up && !res.Skipped {
							t.Errorf("%s %s: got reason %q, error %v", server, pt, res.Reason, res.Err)
						}
					}
				})
			}
			probing.Wait()
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
		var probing sync.WaitGroup
		for _, pt := range ports(secure) {
			probing.Go(func() {
				res := pt.within(t, timeout, p, server.Addr, h)
				if res.Skipped {
					return
				}
				wantReason(t, pt.String(), res, probe.ReasonTimeout)
				if res.Duration < timeout/2 || res.Duration > timeout+5*time.Second {
					t.Errorf("%s: got duration %v, want %v", pt, res.Duration, timeout)
				}
				want := probe.PhaseRequest
				if pt.overTLS() && secure {
					want = probe.PhaseTLS
				}
				if last := len(res.Phases) - 1; last != 1 || res.Phases[last].Phase != want {
					t.Errorf("%s: got phases %v, want connect and %s", pt, res.Phases, want)
				}
			})
		}
		probing.Wait()
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

// A client agent whose servers are gone answers in Consul's words that it reaches none, and its port is up all the
// time.
func TestConsul_NoServer(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	must.Get(c.WaitLeader(t.Context()))(t)
	client, said := c.Clients[0], make(map[string]bool)
	must.Do(t, c.Servers[0].Kill())
	for _, want := range []string{"rpc error getting client", "No known Consul servers"} {
		poll(t, "the client says: "+want, func() bool {
			wantReason(t, "http", ask(t, patience, "http", client.Addr+":8500", how{}), "")
			_, err := client.Client().Status().Leader()
			said[fmt.Sprint(err)] = true
			return err != nil && strings.Contains(err.Error(), want)
		})
	}
	t.Logf("the client said: %q", slices.Sorted(maps.Keys(said)))
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
