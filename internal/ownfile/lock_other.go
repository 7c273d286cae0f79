// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix && !windows

package ownfile

import "os"

// Lock does nothing: there are no such locks.
func Lock(*os.File) error { return nil }

// LockWhenFree does nothing.
func LockWhenFree(*os.File) error { return nil }

// SyncFolder does nothing.
func SyncFolder(string) error { return nil }
