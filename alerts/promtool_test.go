// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// promtools are of the oldest Prometheus that the rules are for, and of a current one.
var promtools = []string{"promtool", "promtool-2.42"}

// Each alert fires, and resolves, as the files in testdata say.
func TestPromtool_Rules(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t) {
		for _, name := range promtools {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				harness.RunTool(t, name, "test", "rules", file)
			})
		}
	}
}

func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*_test.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no tests in testdata (%v)", err)
	}
	return files
}

// promtool finds nothing wrong with the pack, as files and as one, with the defaults and with other settings.
func TestPromtool_Lint(t *testing.T) {
	t.Parallel()
	core, others := otherSettings(), otherSettings()
	others["profile"] = "all"
	packs := map[string]map[string]string{"defaults": nil, "other settings": others, "and core": core}
	for _, setting := range []string{"profile", "selector", "dashboard-url", "disable", "severity", "for", "label"} {
		packs[setting] = map[string]string{setting: core[setting]}
	}
	for kind, settings := range packs {
		dir := t.TempDir()
		for _, f := range append(harness.PackFiles(t, settings), joined(t, settings)) {
			path := filepath.Join(dir, f.Name)
			must.Do(t, os.WriteFile(path, f.Content, 0o600))
			for _, name := range promtools {
				t.Run(kind+"/"+f.Name+"/"+name, func(t *testing.T) {
					t.Parallel()
					harness.RunTool(t, name, "check", "rules", "--lint=all", "--lint-fatal", path)
				})
			}
		}
	}
}
