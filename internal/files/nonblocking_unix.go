// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package files

import "syscall"

// nonblocking opens a pipe without waiting for a writer. It means nothing for an ordinary file.
const nonblocking = syscall.O_NONBLOCK
