// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// StallDisk holds up each fsync of an agent for a minute, as a disk does that no longer writes, until resume. Nothing
// else is held up: a server answers, and its heartbeats go on. It takes the program strace, and the right to use it.
func StallDisk(tb testing.TB, a *consultest.Agent) (resume func()) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "strace", "-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(a.Pid()),
		"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=60s")
	must.Do(tb, cmd.Start())
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // It was killed.
	}
}
