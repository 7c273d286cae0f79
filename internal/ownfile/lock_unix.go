// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package ownfile

import (
	"errors"
	"os"
	"syscall"
)

// Lock takes a file for this process until the file is closed. It is ErrInUse if another process has it.
func Lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// LockWhenFree waits until no other process has the file.
func LockWhenFree(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }

// SyncFolder makes sure that the names in a folder are on the disk.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
