// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package responder

import (
	"os"
	"os/exec"
)

// There are no process groups: only the program itself is killed at its timeout.
func ownGroup(*exec.Cmd) {}

// writableByOthers does not know.
func writableByOthers(string) string { return "" }

// replaceableByOthers does not know.
func replaceableByOthers(string) string { return "" }

func mayRun(os.FileInfo) bool { return true }
