// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Every alert that a problem of a status.View names is in the alert pack, with that severity.
func TestStatusAlerts(t *testing.T) {
	t.Parallel()
	files, err := alerts.Pack(nil)
	harness.Must(t, err)
	inPack := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)\n`).FindAllStringSubmatch(string(alerts.Join(files)), -1) {
		inPack[m[1]+" "+m[2]] = true
	}
	sources, err := filepath.Glob("status/*.go")
	harness.Must(t, err)
	n := 0
	for _, path := range sources {
		content, err := os.ReadFile(path)
		harness.Must(t, err)
		for _, m := range regexp.MustCompile(`= alert\{"(\w+)", Severity(\w+)\}`).FindAllStringSubmatch(string(content), -1) {
			n++
			if name := m[1] + " " + strings.ToLower(m[2]); !inPack[name] {
				t.Errorf("%s: the pack has no alert %s", path, name)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d alerts found in the source; want all of them, more than 30", n)
	}
}
