// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// page is what an exporter exports at one moment: the values of each family by labels, written as a="b",c="d".
type page map[string]map[string]float64

// The cluster of the week: three servers, two exporters, each of which asks the agent of one server, and agents.
const (
	servers = 3
	leader  = "server-1"
	quarter = 90 * 24 * time.Hour
)

// size is how large the rest of the cluster is.
type size struct{ nodes, services int }

var (
	// large is for the week as a whole.
	large = size{nodes: 60, services: 40}
	// small is for what happens within an hour, as it takes less time.
	small = size{nodes: 6, services: 5}
)

// agents are the servers whose agents the exporters ask.
var agents = map[string]string{"a": leader, "b": "server-3"}

// listens are the ports of a server.
var listens = []struct{ number, protocol, transport string }{
	{"8300", "rpc", "tcp"},
	{"8301", "serf_lan", "tcp"},
	{"8301", "serf_lan", "udp"},
	{"8302", "serf_wan", "tcp"},
	{"8501", "https", "tcp"},
	{"8600", "dns", "udp"},
}

// golden is a page of a real exporter, without values that differ from one run to the next.
func golden(t *testing.T, name string) page {
	t.Helper()
	text := string(must.Get(os.ReadFile(filepath.Join("..", "collector", "testdata", name)))(t))
	p := make(page)
	for series, value := range harness.ParseSamples(t, strings.ReplaceAll(text, " VALUE\n", " 0.01\n")) {
		family, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		p.put(family, labels, value)
	}
	return p
}

// healthy is what an exporter shows of the cluster while nothing happens. Of everything of which there are more here
// than on the golden page, or which is in trouble there, it has its own.
func healthy(t *testing.T, exporter string, of size) page {
	t.Helper()
	p := golden(t, "healthy.prom")
	for other := range strings.FieldsSeq("port_ health_ license_ catalog_kv catalog_overview_") {
		maps.DeleteFunc(p, func(family string, _ map[string]float64) bool {
			return strings.HasPrefix(family, "consul_"+other)
		})
	}
	for family, values := range p {
		if strings.HasPrefix(family, "consul_agent_") {
			p[family] = make(map[string]float64)
			for labels, value := range values {
				p.put(family, strings.ReplaceAll(labels, "server-1", agents[exporter]), value)
			}
		}
	}
	for family := range strings.FieldsSeq("consul_catalog_service_instances " +
		"consul_catalog_service_node_healthy consul_service_checks consul_service_tag consul_serf_lan_member_info " +
		"consul_serf_lan_member_status consul_serf_health_score") {
		delete(p, family)
	}
	for _, peer := range []string{"moon", "west"} {
		for family := range p {
			p.drop(family, `peer="`+peer+`"`)
		}
	}
	p.set("consul_agent_raft_log_checksum_failures", "", 0)
	p.set("consul_agent_rpc_rate_limit_exceeded_per_second", "", 0)
	p.set("consul_acl_replication_last_error_timestamp_seconds", "", 0)
	p.set("consul_connect_ca_root_expiry_timestamp_seconds", "", (10 * quarter).Seconds())
	p.put("consul_exporter_state_file_ok", "", 1)
	p.put("consul_exporter_config_last_reload_successful", "", 1)
	p.put("consul_exporter_build_info", `version="1.0.0"`, 1)
	p.put("consul_serf_health_score", `pool="lan"`, 0)
	p.put("consul_serf_health_score", `pool="wan"`, 0)
	p.set("consul_catalog_nodes", "", float64(servers+of.nodes))
	p.set("consul_catalog_services", "", float64(of.services+1))
	p.set("consul_serf_lan_members", "", float64(servers+of.nodes))
	p.set("consul_serf_version_members", "", float64(servers+of.nodes))
	p.set("consul_serf_members", `pool="lan",status="alive"`, float64(servers+of.nodes))
	p.set("consul_serf_members", `pool="lan",status="failed"`, 0)
	for i := range servers {
		p.listen(fmt.Sprintf("server-%d", i+1))
		p.member(fmt.Sprintf("server-%d", i+1), "consul")
	}
	p.addService("consul", servers)
	for i := range of.nodes {
		p.member(node(i), "node")
	}
	for i := range of.services {
		p.addService(service(i), instanceCount(i))
		for j := range instanceCount(i) {
			p.addInstance(service(i), node((3*i+j)%of.nodes))
		}
	}
	return p
}

func node(i int) string { return fmt.Sprintf("node-%02d", i+1) }

func service(i int) string { return fmt.Sprintf("service-%02d", i+1) }

// instanceCount is how many instances a service has: the first ten have one.
func instanceCount(i int) int {
	if i < 10 {
		return 1
	}
	return 3
}

func (p page) put(family, labels string, value float64) {
	if p[family] == nil {
		p[family] = make(map[string]float64)
	}
	p[family][labels] = value
}

// set gives a value to all series of a family that have all of these labels.
func (p page) set(family, labels string, value float64) {
	for _, series := range p.with(family, labels) {
		p[family][series] = value
	}
}

func (p page) add(family, labels string, value float64) {
	for _, series := range p.with(family, labels) {
		p[family][series] += value
	}
}

func (p page) drop(family, labels string) {
	for _, series := range p.with(family, labels) {
		delete(p[family], series)
	}
}

// only makes one value of the label of an enumeration apply.
func (p page) only(family, label, value string) {
	p.set(family, "", 0)
	p.set(family, label+`="`+value+`"`, 1)
}

func (p page) with(family, labels string) (found []string) {
	var wanted []string
	if labels != "" {
		wanted = strings.Split(labels, ",")
	}
series:
	for series := range p[family] {
		for _, label := range wanted {
			if !strings.Contains(","+series+",", ","+label+",") {
				continue series
			}
		}
		found = append(found, series)
	}
	return found
}

func (p page) clone() page {
	c := make(page, len(p))
	for family, values := range p {
		c[family] = maps.Clone(values)
	}
	return c
}

// listen has a server listen on its ports.
func (p page) listen(server string) {
	for _, port := range listens {
		labels := fmt.Sprintf("port=%q,protocol=%q,server=%q,transport=%q",
			port.number, port.protocol, server, port.transport)
		p.put("consul_port_up", labels, 1)
		p.put("consul_port_protocol_verified", labels, 1)
		p.put("consul_port_probe_duration_seconds", labels, 0.01)
		p.put("consul_port_probes_total", labels, 0)
		p.put("consul_port_last_success_timestamp_seconds", labels, 0)
		for _, reason := range []string{"refused", "timeout"} {
			p.put("consul_port_probe_failures_total", labels+`,reason="`+reason+`"`, 0)
		}
		for _, phase := range []string{"connect", "request"} {
			p.put("consul_port_probe_phase_duration_seconds", labels+`,phase="`+phase+`"`, 0.005)
		}
		if port.protocol == "https" || port.protocol == "grpc_tls" {
			p.put("consul_port_tls_earliest_cert_expiry_timestamp_seconds", labels, quarter.Seconds())
			p.put("consul_port_tls_earliest_cert_lifetime_seconds", labels, (4 * quarter).Seconds())
		}
		if port.protocol == "dns" {
			p.put("consul_dns_answers", labels, servers)
			p.put("consul_dns_response_code", labels, 0)
		}
	}
}

func (p page) member(name, role string) {
	p.put("consul_serf_lan_member_info", fmt.Sprintf("member=%q,role=%q,version=\"1.22.5\"", name, role), 1)
	p.put("consul_serf_lan_member_status", fmt.Sprintf("member=%q", name), 1)
	p.nodeStatus(name, "passing")
}

func (p page) nodeStatus(name, status string) {
	for _, s := range []string{"critical", "passing"} {
		p.put("consul_health_node_status", fmt.Sprintf(`check="serfHealth",node=%q,status=%q`, name, s), 0)
	}
	p.set("consul_health_node_status", fmt.Sprintf("node=%q,status=%q", name, status), 1)
}

func (p page) addService(name string, passing int) {
	for _, status := range []string{"critical", "maintenance", "passing", "warning"} {
		p.put("consul_catalog_service_instances", fmt.Sprintf("service_name=%q,status=%q", name, status), 0)
	}
	p.set("consul_catalog_service_instances", fmt.Sprintf(`service_name=%q,status="passing"`, name), float64(passing))
}

func (p page) addInstance(name, at string) {
	labels := fmt.Sprintf("node=%q,service_id=%q,service_name=%q", at, name+"-"+at, name)
	p.put("consul_catalog_service_node_healthy", labels, 1)
	p.put("consul_service_tag", fmt.Sprintf("node=%q,service_id=%q,tag=\"v1\"", at, name+"-"+at), 1)
	p.put("consul_health_service_status", `check="http",`+labels+`,status="passing"`, 1)
}

// instancesBecome has n instances of a service change from one status to another.
func (p page) instancesBecome(name string, n float64, from, to string) {
	p.add("consul_catalog_service_instances", fmt.Sprintf("service_name=%q,status=%q", name, from), -n)
	p.add("consul_catalog_service_instances", fmt.Sprintf("service_name=%q,status=%q", name, to), n)
}

func (p page) deregister(name string) {
	for family := range p {
		p.drop(family, fmt.Sprintf("service_name=%q", name))
	}
	p.add("consul_catalog_services", "", -1)
}

// memberBecomes has a member change its status: 1 is alive, 3 left, 4 failed.
func (p page) memberBecomes(name string, status float64) {
	labels := fmt.Sprintf("member=%q", name)
	p.set("consul_serf_lan_member_info", labels, status)
	p.set("consul_serf_lan_member_status", labels, status)
	p.add("consul_serf_members", `pool="lan",status="alive"`, -1)
	is := map[float64]string{3: "left", 4: "failed"}[status]
	p.add("consul_serf_members", fmt.Sprintf(`pool="lan",status=%q`, is), 1)
}

// forget has Serf forget a member that left.
func (p page) forget(name string) {
	labels := fmt.Sprintf("member=%q", name)
	p.drop("consul_serf_lan_member_info", labels)
	p.drop("consul_serf_lan_member_status", labels)
	p.add("consul_serf_lan_members", "", -1)
}

// nodeGoes has a node leave the catalog.
func (p page) nodeGoes(name string) {
	p.drop("consul_health_node_status", fmt.Sprintf("node=%q", name))
	p.add("consul_catalog_nodes", "", -1)
}

// quorum is what the exporter concludes of how many voters are answering and lost, and which margin that leaves; none
// if it is not known.
func (p page) quorum(state string, answering, lost float64, margin ...float64) {
	p.only("consul_cluster_quorum_state", "state", state)
	p.set("consul_cluster_voters_state", `state="answering"`, answering)
	p.set("consul_cluster_voters_state", `state="lost"`, lost)
	p.set("consul_cluster_voters_state", `state="unknown"`, servers-answering-lost)
	if len(margin) == 0 {
		p.drop("consul_cluster_failure_margin", "")
		return
	}
	p.set("consul_cluster_failure_margin", "", margin[0])
}

// portDown has a port not answer; it accepts connections if it hangs.
func (p page) portDown(labels string, hangs bool) {
	p.set("consul_port_up", labels, 0)
	p.drop("consul_port_protocol_verified", labels)
	p.drop("consul_dns_answers", labels)
	p.drop("consul_dns_response_code", labels)
	p.drop("consul_port_tls_earliest_cert_expiry_timestamp_seconds", labels)
	p.drop("consul_port_tls_earliest_cert_lifetime_seconds", labels)
	if !hangs {
		p.drop("consul_port_probe_phase_duration_seconds", labels)
	}
}

// serverSilent has a server say nothing about Raft.
func (p page) serverSilent(server string) {
	labels := fmt.Sprintf("server=%q", server)
	for family := range p {
		if strings.HasPrefix(family, "consul_server_raft_") {
			p.drop(family, labels)
		}
	}
	p.set("consul_autopilot_server_healthy", labels, 0)
	p.set("consul_autopilot_cluster_healthy", "", 0)
	p.set("consul_autopilot_cluster_failure_tolerance", "", 0)
}

// serverDown has a server's process be gone.
func (p page) serverDown(server string) {
	p.portDown(fmt.Sprintf("server=%q", server), false)
	p.serverSilent(server)
}

// serverFailed has gossip take a server for failed.
func (p page) serverFailed(server string) {
	p.memberBecomes(server, 4)
	p.nodeStatus(server, "critical")
	p.add("consul_cluster_servers", `state="alive"`, -1)
	p.add("consul_cluster_servers", `state="failed"`, 1)
}

// agentDown has the agent that the exporter asks not answer: what only it can say is gone.
func (p page) agentDown() {
	for family := range p {
		for of := range strings.FieldsSeq("agent_ acl_ autopilot_ catalog_ connect_ health_ peering_ raft_ serf_ service_ " +
			"sessions exporter_query_") {
			if strings.HasPrefix(family, "consul_"+of) {
				delete(p, family)
			}
		}
	}
	p.set("consul_up", "", 0)
	p.set("consul_cluster_consistent_read_success", "", 0)
	for collector := range strings.FieldsSeq("acl agent autopilot catalog connect consistent kv license members " +
		"overview peering serf sessions telemetry") {
		p.set("consul_exporter_collector_success", fmt.Sprintf("collector=%q", collector), 0)
	}
}

// leaderless is what follows from there being no leader, as on the other golden page.
func (p page) leaderless(noLeader page) {
	for family := range p {
		if strings.HasPrefix(family, "consul_acl_") || strings.HasPrefix(family, "consul_peering_") {
			delete(p, family)
		}
	}
	p.set("consul_cluster_leaders", "", 0)
	p.set("consul_raft_leader", "", 0)
	p.set("consul_cluster_consistent_read_success", "", 0)
	p.drop("consul_cluster_leader_info", "")
	p.drop("consul_server_raft_reported_leader_info", "")
	p.set("consul_server_raft_has_leader", "", 0)
	p.set("consul_server_raft_is_leader", "", 0)
	p.set("consul_exporter_query_known_leader", "", 0)
	p.set("consul_cluster_reported_leaders", "", 0)
	p.set("consul_cluster_servers_without_leader", "", float64(len(p["consul_server_raft_has_leader"])))
	p.only("consul_cluster_writes_state", "state", "unknown")
	for labels, value := range noLeader["consul_exporter_collector_success"] {
		p.set("consul_exporter_collector_success", labels, value)
	}
}

// leads has a server lead.
func (p page) leads(server string) {
	delete(p, "consul_cluster_leader_info")
	id := "id-" + strings.TrimPrefix(server, "server-")
	p.put("consul_cluster_leader_info", fmt.Sprintf("node_id=%q,server=%q", id, server), 1)
	p.set("consul_server_raft_is_leader", "", 0)
	p.set("consul_server_raft_is_leader", fmt.Sprintf("server=%q", server), 1)
}
