// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// promtools are of the oldest Prometheus that the rules are for, and of a current one.
var promtools = []string{"promtool", "promtool-2.42"}

// promtool runs one of them and fails the test with what it says if it is not content.
func promtool(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := toolbox.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
}

// Each alert fires, and resolves, as the files in testdata say.
func TestPromtool_Rules(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t) {
		for _, name := range promtools {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				promtool(t, name, "test", "rules", file)
			})
		}
	}
}

// testFiles are the unit tests of the rules.
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
	for _, settings := range []struct {
		name  string
		given map[string]string
	}{{"defaults", nil}, {"other settings", otherSettings()}} {
		dir := t.TempDir()
		files := pack(t, settings.given)
		args := []string{"check", "rules", "--lint=all", "--lint-fatal"}
		for _, f := range append(files, alerts.File{Name: "joined.yml", Content: alerts.Join(files)}) {
			path := filepath.Join(dir, f.Name)
			if err := os.WriteFile(path, f.Content, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, name := range promtools {
				t.Run(settings.name+"/"+f.Name+"/"+name, func(t *testing.T) {
					t.Parallel()
					promtool(t, name, append(args, path)...)
				})
			}
		}
	}
}
