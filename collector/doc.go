// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package collector turns a cluster.Snapshot into Prometheus metric families.
//
// There is one file for each area of metrics; registry.go lists them. A collector is a function from a snapshot to
// families: it has no client and no clock. collector.go runs the chosen ones in parallel under the scrape's deadline,
// keeps them apart from each other, and adds the exporter's own families; family.go is how families are built.
//
// The Exporter is a gatherer of its own and not a prometheus.Collector, which has no context and pays 24 allocations
// for each series.
package collector
