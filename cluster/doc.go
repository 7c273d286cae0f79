// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster knows what one Consul cluster looks like right now: who its servers are and what each of them says.
// What that means is for package verdict.
//
//   - A [Cluster] lives as long as the exporter. It holds the client of one agent's HTTP API, the prober of the
//     servers' ports, and what earlier scrapes have learned, so that the servers are probed even if the agent is gone.
//   - A [Snapshot] lives for one scrape. Each fact is fetched at most once, on first use, in parallel with the others
//     and under the scrape's deadline. What it has learned is kept at its end.
//
// Everything is read with stale consistency, because a default read hangs for seconds when there is no leader, which
// is when the answers matter most. Nothing is ever written to Consul. The package knows nothing of Prometheus.
package cluster
