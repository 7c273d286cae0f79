// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The agent's HTTP API can be on a unix socket, behind the path of a proxy, or have a name; and however it is reached, the servers' own ports
// are those that the cluster names.
func TestAddresses(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, Socket: true})
	server := c.Servers[0]
	api, err := url.Parse(server.URL())
	harness.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(api)
	plain := harness.ServeOn(t, proxy)
	behindPath := harness.ServeOn(t, http.StripPrefix("/tools/consul", proxy)) // Any other path gets status 404.
	guarded := harness.ServeOn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
			e := harness.StartExporter(t, tc.env, "--consul.server="+tc.address)
			s := e.Scrape(t)
			s.Expect(t, harness.Samples{
				"consul_up": 1, "consul_cluster_leaders": 1, "consul_cluster_failure_margin": 0,
				harness.Port(8300, "rpc", "tcp").Series("consul_port_up", server):      1,
				harness.Port(8301, "serf_lan", "udp").Series("consul_port_up", server): 1,
			})
			for _, collector := range []string{"agent", "autopilot", "catalog", "consistent", "members", "ports", "raft"} {
				s.Expect(t, harness.Samples{fmt.Sprintf("consul_exporter_collector_success{collector=%q}", collector): 1})
			}
		})
	}
	wrong := harness.StartExporter(t, nil, "--consul.server=http://127.0.0.1:"+behindPath+"/tools")
	wrong.Scrape(t).Expect(t, harness.Samples{"consul_up": 0})
	if log := wrong.Log.String(); !strings.Contains(log, "404") {
		t.Errorf("the log does not say that there is nothing at this path:\n%s", log)
	}
	unknown := harness.StartExporter(t, nil, "--consul.server=http://no-such-host.invalid:8500")
	unknown.Scrape(t).Expect(t, harness.Samples{"consul_up": 0})
	if log := unknown.Log.String(); !strings.Contains(log, "no-such-host.invalid") {
		t.Errorf("the log does not name the host that is unknown:\n%s", log)
	}
}

// Hosts have several addresses: here gossip of the WAN pool, DNS and gRPC are on another one than the rest. Each port is asked where it is; of the
// other servers only those that the cluster tells the address of.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	network := strings.TrimSuffix(c.Servers[0].Addr, "1")
	for i, server := range c.Servers {
		second := network + fmt.Sprint(201+i)
		harness.Must(t, server.Configure(map[string]any{
			"serf_wan": second, "advertise_addr_wan": second, "retry_join_wan": []string{network + "201"},
			"addresses": map[string]any{"dns": second, "grpc": second},
		}))
		harness.Must(t, server.Kill()) // All at once, because the WAN pool does not accept another address for a member that it knows.
	}
	for _, server := range c.Servers {
		harness.Must(t, server.Restart(t.Context()))
	}
	_, err := c.WaitLeader(t.Context())
	harness.Must(t, err)
	harness.Must(t, c.WaitMembers(t.Context(), 3))
	asked := c.Servers[0]
	e := harness.StartExporter(t, nil, "--consul.server="+asked.URL())
	inWAN := harness.Port(8302, "serf_wan", "tcp")
	e.Scrape(t).Expect(t, harness.Samples{ // In the very first scrape, too.
		inWAN.Series("consul_port_connections", asked, `state="closing"`): 0,
	})
	onlyHere := func(p harness.PortID) bool { return p.Protocol == "dns" || p.Protocol == "grpc" }
	everywhere := slices.DeleteFunc(slices.Clone(harness.PlainPorts), onlyHere)
	e.ScrapeUntilUp(t, harness.PlainPorts, asked)
	s := e.ScrapeUntilUp(t, everywhere, c.Servers...)
	s.Expect(t, harness.Samples{"consul_cluster_leaders": 1, "consul_cluster_failure_margin": 1})
	for _, server := range c.Servers {
		for _, p := range harness.PlainPorts {
			if server == asked || !onlyHere(p) {
				s.Expect(t, harness.Samples{p.Series("consul_port_protocol_verified", server): 1})
			} else {
				s.ExpectNone(t, p.Series("consul_port_up", server))
			}
		}
	}

	harness.Must(t, c.Servers[2].Stop())
	s = e.Scrape(t)
	for _, p := range everywhere {
		s.Expect(t, harness.Samples{p.Series("consul_port_up", c.Servers[2]): 0, p.Series("consul_port_up", c.Servers[1]): 1})
	}
	harness.Must(t, asked.Kill()) // What was learned from it lasts.
	s = e.Scrape(t)
	s.Expect(t, harness.Samples{"consul_up": 0})
	for _, transport := range []string{"tcp", "udp"} {
		wan := harness.Port(8302, "serf_wan", transport)
		s.Expect(t, harness.Samples{
			wan.Series("consul_port_up", asked): 0, wan.Series("consul_port_up", c.Servers[1]): 1, wan.Series("consul_port_up", c.Servers[2]): 0,
		})
	}
}
