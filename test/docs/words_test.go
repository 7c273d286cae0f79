// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

var (
	// word has a letter or digit: the marks of tables and lists are none.
	word = regexp.MustCompile(`\S*[\pL\pN]\S*`)
	// commands are the blocks with commands, configurations, and what programs print.
	commands = regexp.MustCompile("(?s)\n *```.*?\n *```")
)

// What people have to read stays short. Tables count, too, generated or not; runbooks, of which one is read at a time,
// don't.
func TestWords_Count(t *testing.T) {
	t.Parallel()
	for pattern, most := range map[string]int{"README.md": 700, "docs/*.md": 16_000} {
		n := 0
		for _, file := range must.Get(filepath.Glob(pattern))(t) {
			text := commands.ReplaceAll(must.Get(os.ReadFile(file))(t), nil)
			n += len(word.FindAll(text, -1))
		}
		if n == 0 || n > most {
			t.Errorf("%s: %d words; want at most %d", pattern, n, most)
		}
	}
}

// Nothing that people read has the words that CONTRIBUTING.md rules out. Code in documents may: it quotes programs.
func TestWords_Banned(t *testing.T) {
	t.Parallel()
	texts := make(map[string]string)
	code := regexp.MustCompile("`[^`\n]*`")
	for _, file := range projectFiles(t, ".md") {
		if file != "CONTRIBUTING.md" && !strings.HasPrefix(file, "internal/") { // The first has the list.
			text := commands.ReplaceAllString(string(must.Get(os.ReadFile(file))(t)), "")
			texts[file] = code.ReplaceAllString(text, "")
		}
	}
	schema := string(must.Get(os.ReadFile(harness.StatusSchema))(t)) // Its words in quotes are code, too.
	texts[harness.StatusSchema] = regexp.MustCompile(`\\?"[a-z_ ]+\\?"`).ReplaceAllString(schema, "")
	for _, f := range collector.AllFamilies() {
		texts["HELP of "+f.Name] = f.Help
	}
	app := cli.App().Model()
	for _, f := range app.Flags {
		texts["help of --"+f.Name] = f.Help
	}
	for _, command := range app.Commands {
		for _, f := range command.Flags {
			texts["help of "+command.Name+" --"+f.Name] = f.Help
		}
	}
	var banned []string
	for _, row := range harness.ReadDocument(t, "CONTRIBUTING.md").Rows("instead of") {
		for phrase := range strings.SplitSeq(row[0].Text, ", ") {
			banned = append(banned, strings.ReplaceAll(regexp.QuoteMeta(phrase), " ", `\s+`))
		}
	}
	if len(banned) < 20 {
		t.Fatalf("CONTRIBUTING.md bans only %q", banned)
	}
	list := regexp.MustCompile(`(?i)\b(?:` + strings.Join(banned, "|") + `)\b`)
	for where, text := range texts {
		for _, m := range list.FindAllStringIndex(text, -1) {
			from, to := max(0, m[0]-40), min(len(text), m[1]+40)
			t.Errorf("%s: %q is banned by CONTRIBUTING.md: ...%s...", where, text[m[0]:m[1]], text[from:to])
		}
	}
}
