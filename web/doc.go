// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package web serves the exporter over HTTP: the status page at /, /metrics for the configured cluster, /probe for
// those of the configuration file's modules, /-/healthy, /-/ready and /-/reload.
package web
