// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os/exec"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// PackFiles are the files of the pack with these settings.
func PackFiles(t *testing.T, settings map[string]string) []alerts.File {
	t.Helper()
	files, err := alerts.Pack(settings)
	Must(t, err)
	return files
}

// RunTool runs a tool that checks files, and returns what it says.
func RunTool(t *testing.T, tool string, args ...string) string {
	t.Helper()
	binary, err := toolbox.Path(tool)
	Must(t, err)
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", tool, args, err, out)
	}
	return string(out)
}
