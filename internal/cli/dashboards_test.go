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

	"github.com/zervigo/consul_cluster_exporter/internal/must"
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
	for _, name := range []string{"exporter", "fleet", "gossip", "overview", "ports", "raft", "services"} {
		path := filepath.Join(dir, name+".json")
		fmt.Fprintln(&want, path)
		got := must.Get(os.ReadFile(path))(t)
		source := must.Get(os.ReadFile(filepath.Join("dashboards", name+".json")))(t)
		if diff := cmp.Diff(string(source), string(got)); diff != "" {
			t.Errorf("%s (-repository +written):\n%s", name, diff)
		}
	}
	if stdout != want.String() {
		t.Errorf("it prints\n%swant\n%s", stdout, &want)
	}
}
