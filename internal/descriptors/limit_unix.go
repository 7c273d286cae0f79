// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package descriptors

import (
	"math"
	"syscall"
)

// limit returns how many descriptors this process may have open.
func limit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxUint64 // Nothing says that there is one.
	}
	return uint64(l.Cur) //nolint:unconvert // It is signed on FreeBSD.
}
