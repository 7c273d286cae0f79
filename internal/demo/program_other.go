// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// childAttributes leaves the child in this program's process group, so that at least Ctrl-C ends both: only Linux can
// kill a child with its parent.
func childAttributes() *syscall.SysProcAttr { return nil }
