// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package generator writes the dashboards: what they show is in one file for each of them, overview.go and so on, and
// how Grafana wants it written in the others. `make dashboards` runs it; the exporter itself has only what it writes.
//
// Four things hold for all dashboards:
//
//   - What shows the present asks for the present, with instant queries: a value from before the exporter was lost must not look like
//     one of now.
//   - Of what several exporters say about one cluster, one value is taken, and nothing is counted twice. Which clusters there are is
//     told by the labels cluster, datacenter and job, as in the alerts; tables show the worst of the clusters that are chosen.
//   - They need no recording rules. Only the alerts that fire come from the rules, and if these are not loaded, that is what is shown.
//   - What a version, an edition or an agent does not have is shown as "not available", by a value of its own where the query would
//     have no result.
package generator
