// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package dashboards_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/dashboards/generator"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The dashboards in this folder, and in the binary, are those that the generator writes, and there are no others.
func TestFiles(t *testing.T) {
	t.Parallel()
	want := must.Get(generator.Files())(t)
	if *harness.Update {
		for name, content := range want {
			must.Do(t, os.WriteFile(name, content, 0o644))
		}
		return
	}
	files := must.Get(dashboards.Files())(t)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		if diff := cmp.Diff(string(want[f.Name]), string(f.Content)); diff != "" {
			t.Errorf("%s differs from what its generator writes; run: make dashboards (-generated +file)\n%s", f.Name, diff)
		}
	}
	onDisk := must.Get(filepath.Glob("*.json"))(t)
	for from, got := range map[string][]string{"the binary": names, "the folder": onDisk} {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
			t.Errorf("dashboards in %s (-want +got):\n%s", from, diff)
		}
	}
}
