// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Every picture that the documentation shows is there and small, and every picture that is there is shown.
func TestImages(t *testing.T) {
	t.Parallel()
	shown := make(map[string]bool)
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		harness.Must(t, err)
		pages = append(pages, found...)
	}
	for _, page := range pages {
		content, err := os.ReadFile(page)
		harness.Must(t, err)
		for _, m := range regexp.MustCompile(`!\[[^\]]+\]\(([^)]+\.png)\)`).FindAllSubmatch(content, -1) {
			shown[filepath.Join(filepath.Dir(page), string(m[1]))] = true
		}
	}
	for path := range shown {
		if info, err := os.Stat(path); err != nil || info.Size() > 250_000 {
			t.Errorf("%s is shown, and is not there or larger than 250 kB: %v", path, err)
		}
	}
	there, err := filepath.Glob("docs/images/*")
	harness.Must(t, err)
	for _, path := range there {
		if !shown[path] {
			t.Errorf("no page shows %s", path)
		}
	}
}
