// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"os"
	"syscall"
)

// Processes cannot be stopped here: to send them any of these is an error.
const sigStop, sigContinue = syscall.Signal(-1), syscall.Signal(-1)

// lockFile opens a file. No clusters have to wait for each other here.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644)
}
