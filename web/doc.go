// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package web serves the exporter over HTTP: /metrics for the configured cluster, /probe for those of the configuration file's modules,
// /-/healthy, /-/ready, /-/reload and a landing page.
package web
