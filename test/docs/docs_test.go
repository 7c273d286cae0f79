// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// checkLink reports what is wrong with a link in a document. Anchors has those of all documents.
func checkLink(anchors map[string]map[string]bool, document, link string) error {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return err
	case u.Scheme == "mailto":
		return nil
	case u.Scheme != "" && (u.Scheme != "https" || u.Host == ""):
		return errors.New("want https://host/path")
	case u.Scheme != "":
		return nil
	case u.Path == "" && u.Fragment == "":
		return errors.New("leads nowhere")
	}
	target := document
	if u.Path != "" {
		target = path.Join(path.Dir(document), u.Path)
		if path.IsAbs(u.Path) || !filepath.IsLocal(target) {
			return errors.New("leads out of the project")
		}
		if _, err := os.Stat(filepath.FromSlash(target)); err != nil {
			return err
		}
	}
	if u.Fragment != "" && !anchors[target][u.Fragment] {
		return fmt.Errorf("%s has no heading #%s", target, u.Fragment)
	}
	return nil
}

// otherNames look like one of a metric or an alert, and are none.
var otherNames = map[string]bool{
	"consul_exporter": true, cli.Name: true,
	"consul_sd_configs": true, // A key of Prometheus's configuration.
	"ConsulTest":        true, // The alert that docs/alerts.md sends by hand.
	// Of the responder.
	"consul_responder_alerts_received_total": true, "consul_responder_actions_total": true, "consul_responder_last_action_timestamp_seconds": true,
}

var (
	// What follows a name may make it the beginning of several.
	metricName = regexp.MustCompile(`\b(consul(?:_[a-z0-9_]*|:[a-z0-9_:]+))([*(.\[]?)`)
	alertName  = regexp.MustCompile(`\bConsul[A-Z][A-Za-z]+\b`)
)

// The metrics, recording rules and alerts that documents name are there.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, f := range allFamilies(t) {
		names[f.Name] = true
	}
	files, err := alerts.Pack(nil)
	harness.Must(t, err)
	for _, m := range regexp.MustCompile(`(?m)^\s*- (?:record|alert): (\S+)$`).FindAllSubmatch(alerts.Join(files), -1) {
		names[string(m[1])] = true
	}
	isPrefix := func(prefix string) bool {
		for name := range names {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	checked := 0
	for _, d := range documents(t) {
		for _, line := range append(d.CommandLines(), d.Spans...) {
			for _, m := range metricName.FindAllStringSubmatch(line, -1) {
				checked++
				several := m[2] != "" || strings.HasSuffix(m[1], "_") || strings.Contains(line, "grep ")
				if !names[m[1]] && !otherNames[m[1]] && (!several || !isPrefix(m[1])) {
					t.Errorf("%s: %s: there is no %s", d.Path, strings.TrimSpace(line), m[1])
				}
			}
			for _, name := range alertName.FindAllString(line, -1) {
				checked++
				if !names[name] && !otherNames[name] {
					t.Errorf("%s: %s: there is no alert %s", d.Path, strings.TrimSpace(line), name)
				}
			}
		}
	}
	if checked < 500 {
		t.Errorf("%d names were found; there are more", checked)
	}
}

// The table of packages in docs/architecture.md says what each imports of the project.
func TestDocsPackages(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("docs/architecture.md")
	harness.Must(t, err)
	_, table, _ := strings.Cut(string(content), "<!-- packages -->")
	table, _, _ = strings.Cut(table, "<!-- end of packages -->")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|.*\\|([^|]*)\\|$").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		documented := code(row[2])
		slices.Sort(documented)
		if imports := ownImports(t, row[1]); !slices.Equal(documented, imports) {
			t.Errorf("package %s imports %q; docs/architecture.md says %q", row[1], imports, documented)
		}
	}
	if len(rows) < 8 {
		t.Errorf("%d packages were found; there are more", len(rows))
	}
}

// ownImports are the packages of the project that the program's files in a folder import.
func ownImports(t *testing.T, folder string) []string {
	t.Helper()
	const module = `"github.com/zervigo/consul_cluster_exporter/`
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*.go"))
	harness.Must(t, err)
	var imports []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		harness.Must(t, err)
		for _, spec := range file.Imports {
			if own, ok := strings.CutPrefix(spec.Path.Value, module); ok {
				imports = append(imports, strings.TrimSuffix(own, `"`))
			}
		}
	}
	slices.Sort(imports)
	return slices.Compact(imports)
}

// Each protocol has its row in the README, its name in the list of labels, and its word in the example of a configuration file.
func TestDocsProtocols(t *testing.T) {
	for _, p := range cluster.Protocols() {
		for file, pattern := range map[string]string{
			"README.md":               fmt.Sprintf("(?m)^\\| [0-9, ]*%d[0-9, ]* \\| [^|]*`%s`", p.DefaultPort(), p),
			"docs/metrics.md":         fmt.Sprintf("(?m)^\\| `port`, `protocol`, .*`%s`", p),
			"docs/config.example.yml": fmt.Sprintf(`(?m)^ +protocols: \[.*\b%s\b`, p),
		} {
			content, err := os.ReadFile(file)
			harness.Must(t, err)
			if !regexp.MustCompile(pattern).Match(content) {
				t.Errorf("%s does not have protocol %s", file, p)
			}
		}
	}
}

// The variables of Consul's CLI that docs/configuration.md lists are those that the program reads.
func TestDocsVariables(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("docs/configuration.md")
	harness.Must(t, err)
	rows := regexp.MustCompile("(?m)^\\| (`CONSUL_[^|]*) \\|").FindAllSubmatch(content, -1)
	var documented []string
	for _, row := range rows {
		documented = append(documented, code(string(row[1]))...)
	}
	source, err := os.ReadFile("internal/cli/flags.go")
	harness.Must(t, err)
	var read []string
	for _, o := range new(config.Module).Options() {
		if variable, _, _ := strings.Cut(o.Env, "="); variable != "" {
			read = append(read, variable)
		}
	}
	for _, m := range regexp.MustCompile(`Getenv\("(CONSUL_[A-Z_]+)"\)`).FindAllSubmatch(source, -1) {
		read = append(read, string(m[1]))
	}
	slices.Sort(documented)
	slices.Sort(read)
	if read = slices.Compact(read); !slices.Equal(documented, read) {
		t.Errorf("the program reads %q; docs/configuration.md lists %q", read, documented)
	}
}

// Figures in README.md are those of the project.
func TestDocsFigures(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	harness.Must(t, err)
	gomod, err := os.ReadFile("go.mod")
	harness.Must(t, err)
	m := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(gomod)
	if m == nil {
		t.Fatal("go.mod has no version of Go")
	}
	boards, err := filepath.Glob("dashboards/*.json")
	harness.Must(t, err)
	numbers := map[int]string{5: "five", 6: "six", 7: "seven", 8: "eight"}
	for _, want := range []string{"You need Go " + string(m[1]) + ", make and git", "has " + numbers[len(boards)] + " dashboards for Grafana"} {
		if !bytes.Contains(readme, []byte(want)) {
			t.Errorf("README.md does not say: %s", want)
		}
	}
}

// Files of the project that documents name are there.
func TestDocsFiles(t *testing.T) {
	t.Parallel()
	file := regexp.MustCompile(`^(?:probe|cluster|collector|config|web|alerts|dashboards|docs|internal|responder|test|tools)/[\w/.-]+\.(?:go|yml|json|sh|md)$`)
	checked := 0
	for _, d := range documents(t) {
		for _, span := range d.Spans {
			if !file.MatchString(span) {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.FromSlash(span)); err != nil && d.Path != "CONTRIBUTING.md" { // Which adds files.
				t.Errorf("%s: %v", d.Path, err)
			}
		}
	}
	if checked < 5 {
		t.Errorf("%d files were found; there are more", checked)
	}
}
