// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package dashboards_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The pictures in docs/images are of the dashboards as they are.
func TestPictures(t *testing.T) {
	t.Parallel()
	var drawn map[string]string
	must.Do(t, json.Unmarshal(must.Get(os.ReadFile("testdata/pictures.json"))(t), &drawn))
	now := make(map[string]string)
	for _, p := range grafana.Pictures {
		_, digest, err := p.Draw(must.Get(os.ReadFile(p.Dashboard + ".json"))(t))
		must.Do(t, err)
		now[p.Name] = digest
		must.Get(os.Stat(filepath.Join("../docs/images", p.Name+".png")))(t)
	}
	if diff := cmp.Diff(now, drawn); diff != "" {
		t.Errorf("pictures are older than their dashboards; run: make pictures (-dashboards +pictures)\n%s", diff)
	}
}
