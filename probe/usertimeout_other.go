// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package probe

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing: the kernel's own limit on retransmissions has to do.
func setUserTimeout(syscall.Conn, time.Duration) {}
