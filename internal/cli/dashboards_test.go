// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The command writes what is in the repository.
func TestDashboardsToFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "grafana")
	code, stdout, stderr := harness.RunProgram(t, "dashboards", "--output-dir="+dir)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var want strings.Builder
	for _, name := range []string{"exporter", "gossip", "overview", "ports", "raft", "services"} {
		path := filepath.Join(dir, name+".json")
		fmt.Fprintln(&want, path)
		got, err := os.ReadFile(path)
		harness.Must(t, err)
		source, err := os.ReadFile(filepath.Join("dashboards", name+".json"))
		harness.Must(t, err)
		if diff := cmp.Diff(string(source), string(got)); diff != "" {
			t.Errorf("%s (-repository +written):\n%s", name, diff)
		}
	}
	if stdout != want.String() {
		t.Errorf("it prints\n%swant\n%s", stdout, &want)
	}
}

func TestDashboardsCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	harness.Must(t, os.WriteFile(file, nil, 0o600))
	expectErrors(t, []string{"dashboards"}, []string{"required flag(s) '--output-dir' not provided, try --help"})
	expectErrors(t, []string{"dashboards", "--output-dir=" + file},
		[]string{"--output-dir: mkdir " + file + ": not a directory"})
}
