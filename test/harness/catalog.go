// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// RegisterInAllStates registers four services with an instance in each state, and one more that passes.
func RegisterInAllStates(t *testing.T, agent *api.Agent) {
	t.Helper()
	for id, status := range map[string]string{
		"web-1": "passing", "web-2": "passing", "api-1": "warning", "db-1": "critical", "cache-1": "passing",
	} {
		name, _, _ := strings.Cut(id, "-")
		check := &api.AgentServiceCheck{CheckID: id + "-alive", Name: name + " answers", TTL: "1h", Status: status}
		Must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: name, Check: check}))
	}
	Must(t, agent.EnableServiceMaintenance("cache-1", "a test"))
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
