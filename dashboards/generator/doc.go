// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package generator writes the dashboards: what they show is in one file for each of them, overview.go and so on, and
// how Grafana wants it written in the others. `make dashboards` runs it; the exporter itself has only what it writes.
//
// Four things hold for all dashboards:
//
//   - Panels about the present ask for the present, with instant queries: a value from before the exporter was lost
//     must not look like one of now.
//   - Of what several exporters say about one cluster, one value is taken, and nothing is counted twice. The labels
//     cluster, datacenter and job distinguish clusters, as in the alerts; tables show the worst of the chosen clusters.
//   - They need no recording rules. Only the alerts that fire come from the rules, and if these are not loaded, the
//     panel says so.
//   - What a version, an edition or an agent does not have is shown as "not available", by a separate value where the
//     query would have no result.
package generator
