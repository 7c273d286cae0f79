// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// allTests are the names of all tests and fuzz targets of the project, whatever their build tags.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := make(map[string]bool)
	harness.Must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(content, -1) {
			names[string(m[1])] = true
		}
		return err
	}))
	return names
}

// Each claim of docs/security.md names a test, and each test that it names is there.
func TestSecurityDoc(t *testing.T) {
	content, err := os.ReadFile("docs/security.md")
	harness.Must(t, err)
	tests := allTests(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	for _, m := range named.FindAllSubmatch(content, -1) {
		if name := string(m[1]); !tests[name] {
			t.Errorf("there is no test %s", name)
		}
	}
	claims, inClaims := 0, false
	for line := range strings.Lines(string(content)) {
		switch {
		case line == "| claim | tests |\n":
			inClaims = true
		case !strings.HasPrefix(line, "|"):
			inClaims = false
		case inClaims && line != "|---|---|\n":
			claims++
			if cells := strings.Split(line, " | "); len(cells) != 2 || !named.MatchString(cells[1]) {
				t.Errorf("this claim names no test: %s", line)
			}
		}
	}
	if claims < 30 {
		t.Errorf("%d claims are found; want all", claims)
	}
	limit := strings.Join(cli.App().GetCommand("serve").GetFlag("consul.max-response-bytes").Model().Default, "")
	if want := "The default of " + strings.Replace(limit, "MiB", " MiB", 1); !strings.Contains(string(content), want) {
		t.Errorf("docs/security.md does not say %q", want)
	}
}
