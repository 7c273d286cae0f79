// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package catalog reads what is registered with Consul: nodes, service instances, and their health.
//
// A [Reader] reads the catalog at once as far as that does not make Consul write to it, and the rest service by
// service; see writers.go. Package cluster gives it the agent to ask, and what the members of the cluster are.
package catalog
