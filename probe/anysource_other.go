// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package probe

// reportUnreachable does nothing: a port on which nothing listens is silent, not refused.
func reportUnreachable(uintptr) {}
