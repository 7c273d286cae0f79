// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package inputs collects from a snapshot what package verdict judges: what there is to say about the cluster
// ([Evidence]), about stopping a server ([Stop]), and about a server that seems dead ([Death]).
package inputs
