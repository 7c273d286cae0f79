// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import "golang.org/x/sys/unix"

// reportUnreachable has the kernel report that nothing listens on a port, as it does by itself for connected sockets
// (ip(7), IP_RECVERR).
func reportUnreachable(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
}
