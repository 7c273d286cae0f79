// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// serveOn serves a handler on this port of 127.0.0.1, and nowhere else, until the test ends.
func serveOn(tb testing.TB, h http.Handler) (port string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	server := &http.Server{Handler: h, ReadHeaderTimeout: probeTimeout}
	go server.Serve(listener)
	tb.Cleanup(func() { server.Close() })
	_, port, err = net.SplitHostPort(listener.Addr().String())
	must(tb, err)
	return port
}

// The agent's HTTP API can be on a unix socket, behind the path of a proxy, or have a name; and however it is reached, the servers' own ports
// are those that the cluster names.
func TestAddresses(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1, Socket: true})
	server := c.Servers[0]
	api, err := url.Parse(server.URL())
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(api)
	plain := serveOn(t, proxy)
	behindPath := serveOn(t, http.StripPrefix("/tools/consul", proxy)) // Any other path gets status 404.
	guarded := serveOn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "exporter" || password != "pass:word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	for _, tc := range []struct {
		name, address string
		env           []string
	}{
		{"unix socket", "unix://" + server.Socket(), nil},
		{"path of a proxy", "http://127.0.0.1:" + behindPath + "/tools/consul", nil},
		{"path that ends with a slash", "http://127.0.0.1:" + behindPath + "/tools/consul/", nil},
		{"name", "http://localhost:" + plain, nil}, // It may be one of several addresses: nobody listens on [::1].
		{"without a scheme", "localhost:" + plain, nil},
		{"proxy with a password", "http://localhost:" + guarded, []string{"CONSUL_HTTP_AUTH=exporter:pass:word"}},
		{"address in IPv6's notation of IPv4", "http://[::ffff:127.0.0.1]:" + plain, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := startExporter(t, tc.env, "--consul.server="+tc.address)
			s := e.scrape(t)
			s.expect(t, samples{
				"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_failure_margin": 0,
				portID{8300, "rpc", "tcp"}.series("consul_port_up", server):      1,
				portID{8301, "serf_lan", "udp"}.series("consul_port_up", server): 1,
			})
			for _, collector := range []string{"agent", "autopilot", "catalog", "consistent", "members", "ports", "raft"} {
				s.expect(t, samples{fmt.Sprintf("consul_exporter_collector_success{collector=%q}", collector): 1})
			}
		})
	}
	wrong := startExporter(t, nil, "--consul.server=http://127.0.0.1:"+behindPath+"/tools")
	wrong.scrape(t).expect(t, samples{"consul_up": 0})
	if log := wrong.log.String(); !strings.Contains(log, "404") {
		t.Errorf("the log does not say that there is nothing at this path:\n%s", log)
	}
	unknown := startExporter(t, nil, "--consul.server=http://no-such-host.invalid:8500")
	unknown.scrape(t).expect(t, samples{"consul_up": 0})
	if log := unknown.log.String(); !strings.Contains(log, "no-such-host.invalid") {
		t.Errorf("the log does not name the host that is unknown:\n%s", log)
	}
}

// Hosts have several addresses: here gossip of the WAN pool, DNS and gRPC are on another one than the rest. Each port is asked where it is; of the
// other servers only those that the cluster tells the address of.
func TestSeveralAddresses(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 3})
	network := strings.TrimSuffix(c.Servers[0].Addr, "1")
	for i, server := range c.Servers {
		second := network + fmt.Sprint(201+i)
		must(t, server.Configure(map[string]any{
			"serf_wan": second, "advertise_addr_wan": second, "retry_join_wan": []string{network + "201"},
			"addresses": map[string]any{"dns": second, "grpc": second},
		}))
		must(t, server.Kill()) // All at once, because the WAN pool does not accept another address for a member that it knows.
	}
	for _, server := range c.Servers {
		must(t, server.Restart(t.Context()))
	}
	_, err := c.WaitLeader(t.Context())
	must(t, err)
	must(t, c.WaitMembers(t.Context(), 3))
	asked := c.Servers[0]
	e := startExporter(t, nil, "--consul.server="+asked.URL())
	inWAN := portID{8302, "serf_wan", "tcp"}
	e.scrape(t).expect(t, samples{ // In the very first scrape, too.
		inWAN.series("consul_port_connections", asked, `state="closing"`): 0,
	})
	onlyHere := func(p portID) bool { return p.protocol == "dns" || p.protocol == "grpc" }
	everywhere := slices.DeleteFunc(slices.Clone(plainPorts), onlyHere)
	e.scrapeUntilUp(t, plainPorts, asked)
	s := e.scrapeUntilUp(t, everywhere, c.Servers...)
	s.expect(t, samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
	for _, server := range c.Servers {
		for _, p := range plainPorts {
			if server == asked || !onlyHere(p) {
				s.expect(t, samples{p.series("consul_port_protocol_verified", server): 1})
			} else {
				s.expectNone(t, p.series("consul_port_up", server))
			}
		}
	}

	must(t, c.Servers[2].Stop())
	s = e.scrape(t)
	for _, p := range everywhere {
		s.expect(t, samples{p.series("consul_port_up", c.Servers[2]): 0, p.series("consul_port_up", c.Servers[1]): 1})
	}
	must(t, asked.Kill()) // What was learned from it lasts.
	s = e.scrape(t)
	s.expect(t, samples{"consul_up": 0})
	for _, transport := range []string{"tcp", "udp"} {
		wan := portID{8302, "serf_wan", transport}
		s.expect(t, samples{
			wan.series("consul_port_up", asked): 0, wan.series("consul_port_up", c.Servers[1]): 1, wan.series("consul_port_up", c.Servers[2]): 0,
		})
	}
}
