// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package web serves the exporter over HTTP: /metrics, /-/healthy, /-/ready and a landing page.
package web
