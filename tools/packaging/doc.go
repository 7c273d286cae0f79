// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package packaging is tests alone: they read the Dockerfile, the examples and the workflows with the libraries of
// the programs that will read them, and build the exporter as a release does. It is a module of its own because the
// exporter needs none of these libraries. `make test-packaging` runs it.
package packaging
