// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newACLCollector exports how ACL tokens and policies are copied from the primary datacenter. In the primary one,
// replication is not enabled.
//
// Only the leader knows, so without one there is nothing but a failure, and no request.
//
// Requests: /v1/agent/self, /v1/status/leader and /v1/acl/replication. ACL: none. Four series.
func newACLCollector(define *definitions) collector {
	enabled := define.gauge("consul_acl_replication_enabled",
		"1 if this datacenter replicates ACLs from the primary, otherwise 0.")
	running := define.gauge("consul_acl_replication_running",
		"1 if ACL replication runs, otherwise 0.")
	success := define.gauge("consul_acl_replication_last_success_timestamp_seconds",
		"When ACLs were last replicated; absent if never.")
	failure := define.gauge("consul_acl_replication_last_error_timestamp_seconds",
		"When replicating ACLs last failed; absent if never.")
	return ofFact((*cluster.Snapshot).ACLReplication, func(status cluster.ACLReplication, out *families) {
		out.flag(enabled, status.Enabled)
		out.flag(running, status.Running)
		out.instant(success, status.LastSuccess)
		out.instant(failure, status.LastError)
	})
}
