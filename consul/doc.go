// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package consul reads the HTTP APIs of Consul's agents.
//
// A [Client] asks one endpoint at a time and decodes the answer, within bounds of time and memory. Its transport is
// the one place that knows the token, the namespace and the partition. It counts requests, and what an agent refuses
// is not asked again at once, because Consul logs each refusal as an error. Which endpoints there are, and what their
// answers mean, is for packages cluster and catalog.
package consul
