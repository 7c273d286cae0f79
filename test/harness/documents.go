// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Document is a Markdown file of the project, taken apart.
type Document struct {
	// Path is relative to the top folder.
	Path string
	// Anchors are what a link to a heading may end in.
	Anchors map[string]bool
	// Links are the destinations of links and images.
	Links  []string
	Blocks []CodeBlock
	// Spans are the pieces of code within sentences.
	Spans []string
	// HTML are the tags and comments that are HTML to a browser.
	HTML   []string
	Tables []Table
}

// CodeBlock is a block between fences.
type CodeBlock struct {
	Language, Text string
	// Line is the number of its first line in the document.
	Line int
}

// Table has the rows of a table. The first one has the names of the columns.
type Table [][]Cell

// Cell is a cell of a table, and the pieces of code in it.
type Cell struct {
	Text string
	Code []string
}

// ReadDocument reads a document, whose path is relative to the top folder.
func ReadDocument(t *testing.T, path string) *Document {
	t.Helper()
	source := must.Get(os.ReadFile(path))(t)
	tree := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	d := &Document{Path: filepath.ToSlash(path), Anchors: make(map[string]bool), Spans: codeSpans(tree, source)}
	for _, n := range find[*ast.Heading](tree) {
		d.Anchors[d.anchor(plainText(n, source))] = true
	}
	for _, n := range find[*ast.Link](tree) {
		d.Links = append(d.Links, string(n.Destination))
	}
	for _, n := range find[*ast.AutoLink](tree) {
		d.Links = append(d.Links, string(n.URL(source)))
	}
	for _, n := range find[*ast.Image](tree) {
		d.Links = append(d.Links, string(n.Destination))
	}
	for _, n := range find[*ast.RawHTML](tree) {
		d.HTML = append(d.HTML, string(n.Segments.Value(source)))
	}
	for _, n := range find[*ast.HTMLBlock](tree) {
		d.HTML = append(d.HTML, string(n.Lines().Value(source)))
	}
	for _, n := range find[*ast.FencedCodeBlock](tree) {
		if lines := n.Lines(); lines.Len() > 0 {
			line := 1 + bytes.Count(source[:lines.At(0).Start], []byte("\n"))
			d.Blocks = append(d.Blocks, CodeBlock{string(n.Language(source)), string(lines.Value(source)), line})
		}
	}
	for _, n := range find[*tables.Table](tree) {
		d.Tables = append(d.Tables, readTable(n, source))
	}
	return d
}

func readTable(n *tables.Table, source []byte) (t Table) {
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []Cell
		for _, cell := range find[*tables.TableCell](row) {
			cells = append(cells, Cell{plainText(cell, source), codeSpans(cell, source)})
		}
		t = append(t, cells)
	}
	return t
}

// find returns the nodes of a kind in a tree, in the order of the document.
func find[N ast.Node](root ast.Node) (found []N) {
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if n, ok := n.(N); ok && entering {
			found = append(found, n)
		}
		return ast.WalkContinue, nil
	})
	return found
}

func codeSpans(root ast.Node, source []byte) (spans []string) {
	for _, n := range find[*ast.CodeSpan](root) {
		spans = append(spans, plainText(n, source))
	}
	return spans
}

func plainText(root ast.Node, source []byte) string {
	var b strings.Builder
	for _, n := range find[*ast.Text](root) {
		b.Write(n.Value(source))
		if n.SoftLineBreak() {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// anchor is what GitHub makes of a heading: lower case, no punctuation, hyphens for spaces, a number if it is taken.
func (d *Document) anchor(heading string) string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	for n, first := 1, slug; d.Anchors[slug]; n++ {
		slug = fmt.Sprintf("%s-%d", first, n)
	}
	return slug
}

// Code returns the spans and the lines of all blocks, each with the lines that a backslash at its end joins to it.
func (d *Document) Code() []string {
	code := slices.Clone(d.Spans)
	for _, block := range d.Blocks {
		code = slices.AppendSeq(code, strings.Lines(strings.ReplaceAll(block.Text, "\\\n", " ")))
	}
	return code
}

// Rows are those of all tables whose first column has this name.
func (d *Document) Rows(name string) (rows [][]Cell) {
	for _, table := range d.Tables {
		if table[0][0].Text == name {
			rows = append(rows, table[1:]...)
		}
	}
	return rows
}

// Column is the code in a column of these rows, sorted.
func (d *Document) Column(name string, column int) (words []string) {
	for _, row := range d.Rows(name) {
		words = append(words, row[column].Code...)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// Update is whether a test is to write what is generated instead of comparing it.
var Update = flag.Bool("update", false, "write the generated tables of the documents instead of comparing them")

// ExpectFile expects a file to be what a target of the Makefile writes, or writes it.
func ExpectFile(t *testing.T, file, want, target string) {
	t.Helper()
	if *Update {
		must.Do(t, os.WriteFile(file, []byte(want), 0o644))
	}
	if diff := cmp.Diff(string(must.Get(os.ReadFile(file))(t)), want); diff != "" {
		t.Errorf("%s is out of date; run: make %s (-file +generated)\n%s", file, target, diff)
	}
}

// AlertRule is a rule of a rule file; of a recording rule Alert is empty.
type AlertRule struct {
	Alert, For          string
	KeepFiringFor       string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// AlertRules are the alerts of a rule file in its order.
func AlertRules(t *testing.T, f alerts.File) []AlertRule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []AlertRule }
	}
	must.Do(t, yaml.Unmarshal(f.Content, &file))
	var rules []AlertRule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return slices.DeleteFunc(rules, func(r AlertRule) bool { return r.Alert == "" })
}

// ReadmePolicy returns the ACL policy that README.md tells users to copy.
func ReadmePolicy(t *testing.T) string {
	t.Helper()
	return PolicyIn(t, "README.md")
}

// PolicyIn returns the first ACL policy in a document.
func PolicyIn(t *testing.T, file string) string {
	t.Helper()
	for _, block := range ReadDocument(t, file).Blocks {
		if block.Language == "hcl" {
			return block.Text
		}
	}
	t.Fatalf("%s has no policy in HCL", file)
	return ""
}
