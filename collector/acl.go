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
		"Whether the datacenter is to copy ACLs from the primary one (1) or not (0).")
	running := define.gauge("consul_acl_replication_running",
		"Whether the leader copies ACLs from the primary datacenter (1) or not (0).")
	success := define.gauge("consul_acl_replication_last_success_timestamp_seconds",
		"When ACLs were last copied; absent when they never were.")
	failure := define.gauge("consul_acl_replication_last_error_timestamp_seconds",
		"When copying ACLs last failed; absent when it never did.")
	return ofFact((*cluster.Snapshot).ACLReplication, func(status cluster.ACLReplication, out *families) {
		out.flag(enabled, status.Enabled)
		out.flag(running, status.Running)
		out.instant(success, status.LastSuccess)
		out.instant(failure, status.LastError)
	})
}
