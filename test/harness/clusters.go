// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// TelemetryInterval is how long Consul measures before it tells.
const TelemetryInterval = 10 * time.Second

// ProbeTimeout is the default of --probe.timeout.
const ProbeTimeout = 3 * time.Second

// PortSeries names a series of section "Ports" for a server's port 8300.
func PortSeries(family string, a *consultest.Agent, more ...string) string {
	return Port(8300, "rpc", "tcp").Series("consul_port_"+family, a, more...)
}

// ServerSeries names a series about one server.
func ServerSeries(family string, a *consultest.Agent) string {
	return fmt.Sprintf("consul_server_raft_%s{server=%q}", family, a.Name)
}

// AnsweringVoters is the series of voters that answer on port 8300.
const AnsweringVoters = `consul_cluster_voters_state{state="answering"}`

// Others returns the servers but those given.
func Others(c *consultest.Cluster, without ...*consultest.Agent) []*consultest.Agent {
	return slices.DeleteFunc(slices.Clone(c.Servers), func(a *consultest.Agent) bool {
		return slices.Contains(without, a)
	})
}

// LeaderOf waits for a leader and returns it.
func LeaderOf(t *testing.T, c *consultest.Cluster) *consultest.Agent {
	t.Helper()
	return must.Get(c.WaitLeader(Soon(t)))(t)
}

// Settle waits until everything in a cluster is as it stays: all servers vote and are healthy, the agents have written
// what they know of themselves into the catalog, and the servers have their certificates.
func Settle(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	must.Get(c.WaitLeader(ctx))(t)
	must.Do(t, c.WaitMembers(ctx, len(c.Agents())))
	must.Do(t, c.WaitSynced(ctx))
	for _, a := range c.Servers {
		WaitFor(t, 2*time.Minute, a.Name+" has a certificate for gRPC", func() string { return withoutCertificate(t, a) })
	}
	must.Do(t, c.WaitHealthy(ctx))
}

// StartPeer starts another cluster of one server, and peers a cluster with it. Each knows the other by its datacenter.
func StartPeer(t *testing.T, c *consultest.Cluster, datacenter string) *consultest.Cluster {
	t.Helper()
	other := consultest.Start(t, consultest.Options{Servers: 1, Datacenter: datacenter})
	Settle(t, other) // The secret of the token is exchanged over gRPC, which needs its certificate.
	must.Do(t, c.Peer(Soon(t), other))
	return other
}

// withoutCertificate says why a server has no certificate for gRPC yet: unless it has one of its own, it has the leader
// issue one. The longer it is without a leader, the later it asks again, up to a minute.
func withoutCertificate(t *testing.T, a *consultest.Agent) string {
	t.Helper()
	if must.Get(a.Client().Agent().Self())(t)["DebugConfig"]["ConnectEnabled"] == false {
		return ""
	}
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // Whatever it is.
	conn, err := dialer.DialContext(Soon(t), "tcp", a.HostPort(consultest.PortGRPCTLS))
	if err != nil {
		return err.Error()
	}
	must.Do(t, conn.Close())
	return ""
}

// ByExporter reports whether a line is about a request of the exporter. All of its connections come from 127.0.0.1,
// but so do those of a server's own gossip over TCP, of which that is the near end, and those of the test when it waits
// for a new token.
func ByExporter(line consultest.LogLine) bool {
	return strings.Contains(line.Raw, "127.0.0.1:") && !ownConnection.MatchString(line.Raw) &&
		!strings.Contains(line.Message, "Failed fallback TCP ping") && !strings.Contains(line.Raw, "/v1/acl/token/self")
}

// ownConnection matches what a server says of a connection that it made itself from 127.0.0.1, in JSON.
var ownConnection = regexp.MustCompile(`127\.0\.0\.1:\d+(->|-\\u003e)`)

// ExpectQuiet fails for each line at WARN or above since the mark that the exporter has caused.
func ExpectQuiet(t *testing.T, a *consultest.Agent, mark int) {
	t.Helper()
	for _, line := range consultest.AtLeast(a.LogsSince(mark), "WARN") {
		if ByExporter(line) {
			t.Errorf("%s logged because of the exporter: %s", a, line.Raw)
		}
	}
}

// RegisterInAllStates registers four services with an instance in each state, and one more that passes.
func RegisterInAllStates(t *testing.T, agent *api.Agent) {
	t.Helper()
	for id, status := range map[string]string{
		"web-1": "passing", "web-2": "passing", "api-1": "warning", "db-1": "critical", "cache-1": "passing",
	} {
		name, _, _ := strings.Cut(id, "-")
		check := &api.AgentServiceCheck{CheckID: id + "-alive", Name: name + " answers", TTL: "1h", Status: status}
		must.Do(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: name, Check: check}))
	}
	must.Do(t, agent.EnableServiceMaintenance("cache-1", "a test"))
}

// DropInFamilies are those of consul_exporter 0.13, and whether they are exported with --consul.agent-only too.
var DropInFamilies = map[string]bool{
	"consul_up": true, "consul_catalog_services": true, "consul_catalog_service_node_healthy": true,
	"consul_service_tag": true, "consul_service_meta_info": true,

	"consul_raft_peers": false, "consul_raft_leader": false,
	"consul_serf_lan_members": false, "consul_serf_lan_member_info": false,
	"consul_serf_lan_member_status": false, "consul_serf_wan_member_info": false, "consul_serf_wan_member_status": false,
	"consul_health_node_status": false, "consul_health_service_status": false, "consul_service_checks": false,
	"consul_catalog_kv": false,
}
