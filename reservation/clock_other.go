// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package reservation

// HostClock returns the clock of this host, which has this name.
func HostClock(host string) Clock { return wallClock(host) }
