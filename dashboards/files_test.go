// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package dashboards_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/dashboards/generator"
)

var update = flag.Bool("update", false, "write the dashboards instead of comparing them")

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// The dashboards in this folder, and in the binary, are those that the generator writes, and there are no others.
func TestFiles(t *testing.T) {
	t.Parallel()
	want, err := generator.Files()
	must(t, err)
	if *update {
		for name, content := range want {
			must(t, os.WriteFile(name, content, 0o644))
		}
		return
	}
	files, err := dashboards.Files()
	must(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		if diff := cmp.Diff(string(want[f.Name]), string(f.Content)); diff != "" {
			t.Errorf("%s differs from what its generator writes; run: make dashboards (-generated +file)\n%s", f.Name, diff)
		}
	}
	onDisk, err := filepath.Glob("*.json")
	must(t, err)
	for from, got := range map[string][]string{"the binary": names, "the folder": onDisk} {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
			t.Errorf("dashboards in %s (-want +got):\n%s", from, diff)
		}
	}
}
