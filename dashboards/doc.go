// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package dashboards has the Grafana dashboards that go with the exporter.
//
// The files beside this one are what the package generator writes, so that they can be copied or provisioned as they
// are; see docs/dashboards.md for that.
package dashboards
