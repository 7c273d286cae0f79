// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package collector

// hostSockets returns none: only Linux has /proc/net/tcp.
func hostSockets() ([]socket, error) { return nil, nil }
