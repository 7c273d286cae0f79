// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package docs_test holds documents, examples and workflows to the code.
package docs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// projectFiles are the files of the project with this extension.
func projectFiles(t *testing.T, extension string) (files []string) {
	t.Helper()
	must.Do(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist"):
			return filepath.SkipDir
		case filepath.Ext(path) == extension:
			files = append(files, path)
		}
		return nil
	}))
	return files
}

// documents are all Markdown files of the project.
func documents(t *testing.T) (docs []*harness.Document) {
	t.Helper()
	for _, file := range projectFiles(t, ".md") {
		docs = append(docs, harness.ReadDocument(t, file))
	}
	return docs
}

// Links lead to a file of the project, to a heading, or to another site, which is checked for its form only. There is
// no HTML, because GitHub does not show it: <name> belongs in code, or is written &lt;name>. Each image is shown.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	anchors := make(map[string]map[string]bool)
	for _, d := range docs {
		anchors[d.Path] = d.Anchors
	}
	linked := make(map[string]bool)
	for _, d := range docs {
		for _, link := range d.Links {
			if err := checkLink(anchors, d.Path, link); err != nil {
				t.Errorf("%s: link %s: %v", d.Path, link, err)
			}
			linked[path.Join(path.Dir(d.Path), link)] = true
		}
		for _, html := range d.HTML {
			if !strings.HasPrefix(html, "<!--") {
				t.Errorf("%s: %s is HTML, and not shown", d.Path, strings.TrimSpace(html))
			}
		}
	}
	for _, image := range must.Get(filepath.Glob("docs/images/*"))(t) {
		if info, err := os.Stat(image); err != nil || info.Size() > 250_000 || !linked[image] {
			t.Errorf("%s is larger than 250 kB, or no document shows it", image)
		}
	}
}

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

// kind is a kind of names that documents mention.
type kind struct {
	what string
	// begins is how code begins that has such names.
	begins string
	// name is a name, and then what makes it the beginning of several.
	name  *regexp.Regexp
	known []string
}

// unknown returns the names in a piece of code that are none.
func (k *kind) unknown(code string) (names []string) {
	if !strings.HasPrefix(code, k.begins) {
		return nil
	}
	for _, m := range k.name.FindAllStringSubmatch(code, -1) {
		several := m[2] != "" || strings.HasSuffix(m[1], "_") || strings.Contains(code, "grep ")
		if !slices.ContainsFunc(k.known, func(name string) bool {
			return name == m[1] || several && strings.HasPrefix(name, m[1])
		}) {
			names = append(names, m[1])
		}
	}
	return names
}

// What documents name in code is in the project.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	metrics := harness.ReadDocument(t, "docs/metrics.md")
	collectors := metrics.Column("collector", 0) // Generated from the code.
	targets := declared(t, []string{"Makefile"}, `([a-z0-9-]+):`)
	tests := declared(t, projectFiles(t, ".go"), `func ((?:Test|Fuzz)\w+)\(`)
	rules := append(metricsAndRules(t), metrics.Column("metric", 0)...) // Also generated.
	renamed := harness.ReadDocument(t, "CHANGELOG.md").Column("before", 0)
	kinds := []kind{
		{"collector", "collect[]", regexp.MustCompile(`(?:\[|, )([a-z_]+)()`), collectors},
		{"flag", "--", regexp.MustCompile(`(?:^|\s)--(?:\[no-\]|no-)?([a-z][a-z0-9_.-]*)([*<A-Z])?`), flagNames()},
		{"metric", "", regexp.MustCompile(`\b(consul(?:_[a-z0-9_]*|:[a-z0-9_:]+))([*(.\[])?`), rules},
		{"alert", "", regexp.MustCompile(`\b(Consul[A-Z][A-Za-z]+)()\b`), rules},
		{"target", "", regexp.MustCompile(`(?:^|\$ |&& |; )make(?: +[A-Z]+=\S+)* +([a-z0-9-]+)()`), targets},
		{"test", "", regexp.MustCompile(`^((?:Test|Fuzz)[A-Z]\w*)()$`), tests},
	}
	for _, d := range documents(t) {
		for _, code := range d.Code() {
			code = strings.TrimPrefix(strings.TrimSpace(code), "- ")
			for _, k := range kinds {
				for _, name := range k.unknown(code) {
					if d.Path == "CHANGELOG.md" && slices.Contains(renamed, name) {
						continue
					}
					t.Errorf("%s: %s: there is no %s %s", d.Path, code, k.what, name)
				}
			}
			folder, _, isPath := strings.Cut(code, "/")
			if isPath && exists(folder) && !strings.ContainsAny(code, " *<") && !exists(code) {
				t.Errorf("%s: there is no file %s", d.Path, code)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// flagNames are those of all commands.
func flagNames() []string {
	var names []string
	app := cli.App().Model()
	for _, f := range app.Flags {
		names = append(names, f.Name)
	}
	for _, command := range app.Commands {
		for _, f := range command.Flags {
			names = append(names, f.Name)
		}
	}
	return names
}

// declared are the names in the lines of files that begin like this.
func declared(t *testing.T, files []string, line string) (names []string) {
	t.Helper()
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^`+line).FindAllSubmatch(must.Get(os.ReadFile(file))(t), -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// metricsAndRules are the names of recording rules and alerts, of metrics of the responder, and those that only look
// like one.
func metricsAndRules(t *testing.T) []string {
	t.Helper()
	names := []string{
		"consul_exporter", cli.Name,
		"consul_sd_configs", // A key of Prometheus's configuration.
		"ConsulTest",        // The alert that docs/alerts.md sends by hand.
		// Of the responder.
		"consul_responder_alerts_received_total", "consul_responder_requests_turned_away_total",
		"consul_responder_actions_total",
		"consul_responder_last_action_timestamp_seconds",
	}
	for _, f := range harness.PackFiles(t, nil) {
		names = append(names, declared(t, []string{"alerts/" + f.Name}, `\s*- (?:record|alert): (\S+)`)...)
	}
	return names
}

// ourCommand finds a command line of the exporter, with its arguments.
var ourCommand = regexp.MustCompile(
	`(?:^|\$ |&& |; |sudo |exec |if |Exec[A-Za-z]+=-?)(?:[\w./-]*/)?` + cli.Name + `((?:\s+[^\n]*)?)$`)

// The exporter accepts its command lines in all documents.
func TestDocsCommands(t *testing.T) {
	for _, d := range documents(t) {
		for _, code := range d.Code() {
			code = strings.TrimSpace(code)
			m := ourCommand.FindStringSubmatch(code)
			if m == nil || m[1] == " ends" { // A line of the log.
				continue
			}
			if err := checkCommand(shellWords(m[1])); err != nil {
				t.Errorf("%s: %s\n%v", d.Path, code, err)
			}
		}
	}
}

// checkCommand reports why the exporter rejects these arguments, except that a file is missing.
func checkCommand(args []string) error {
	app := cli.App()
	app.UsageWriter(io.Discard)
	app.ErrorWriter(io.Discard)
	ended := false
	app.Terminate(func(int) { ended = true }) // After --help and --version.
	command, err := app.Parse(args)
	if ended || err != nil || command != "alerts" {
		return err
	}
	settings := make(map[string]string)
	for _, s := range slices.Concat(alerts.Settings(), alerts.Lists()) {
		settings[s.Name] = app.GetCommand(command).GetFlag(s.Name).Model().Value.String()
	}
	_, err = alerts.Pack(settings)
	return err
}

var (
	// shellWord is a word with its quoted parts, or what ends a command.
	shellWord  = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'|&;<>#)])+|[|&;<>#)]`)
	shellQuote = regexp.MustCompile(`"([^"]*)"|'([^']*)'`)
)

// shellWords splits the arguments of a command as a shell would, up to the end of the command, and expands nothing.
func shellWords(line string) (words []string) {
	for _, word := range shellWord.FindAllString(line, -1) {
		if strings.ContainsAny(word[:1], "|&;<>#)") {
			break
		}
		words = append(words, shellQuote.ReplaceAllString(word, "$1$2"))
	}
	return words
}

// docs/architecture.md says what each package is for.
func TestDocsPackages(t *testing.T) {
	t.Parallel()
	documented := harness.ReadDocument(t, "docs/architecture.md").Column("package", 0)
	for _, file := range projectFiles(t, ".go") {
		if folder := filepath.Dir(file); folder != "." && !slices.Contains(documented, folder) {
			t.Errorf("docs/architecture.md has no row for %s", folder)
			documented = append(documented, folder)
		}
	}
}

// Each claim of docs/security.md names a test; that it exists is checked above.
func TestDocsClaims(t *testing.T) {
	t.Parallel()
	for _, row := range harness.ReadDocument(t, "docs/security.md").Rows("claim") {
		if !slices.ContainsFunc(row[1].Code, regexp.MustCompile(`^(Test|Fuzz)`).MatchString) {
			t.Errorf("docs/security.md: this claim names no test: %s", row[0].Text)
		}
	}
}

func TestReadDocument(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.md")
	must.Do(t, os.WriteFile(file, []byte("# One, `two` & three_4\n\n[a](b.md#c) ![d](e.png)\n\n| x |\n|---|\n"+
		"| `f` [g](h) <i>|\n\n## Twice\n## Twice\n\n```sh\nmake \\\n  it\n```\n"), 0o600))
	want := &harness.Document{
		Path:    file,
		Anchors: map[string]bool{"one-two--three_4": true, "twice": true, "twice-1": true},
		Links:   []string{"b.md#c", "h", "e.png"},
		Blocks:  []harness.CodeBlock{{Language: "sh", Text: "make \\\n  it\n", Line: 13}},
		Spans:   []string{"two", "f"},
		HTML:    []string{"<i>"},
		Tables:  []harness.Table{{{{Text: "x"}}, {{Text: "f g ", Code: []string{"f"}}}}},
	}
	d := harness.ReadDocument(t, file)
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("the document differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"two", "f", "make    it\n"}, d.Code()); diff != "" {
		t.Errorf("its code differs (-want +got):\n%s", diff)
	}
}
