// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// document is a Markdown file of the project, taken apart.
type document struct {
	// path is relative to the top folder.
	path string
	// anchors are what a link to a heading may end in.
	anchors map[string]bool
	// links are the destinations of links and images.
	links  []string
	blocks []codeBlock
	// spans are the pieces of code within sentences.
	spans []string
	// html are the tags and comments that are HTML to a browser.
	html []string
}

// codeBlock is a block between fences.
type codeBlock struct {
	language, text string
	// line is the number of its first line in the document.
	line int
}

// documents are all Markdown files of the project.
func documents(t *testing.T) []document {
	t.Helper()
	var docs []document
	must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			docs = append(docs, readDocument(t, path))
		}
		return nil
	}))
	if len(docs) < 60 {
		t.Fatalf("there are %d documents; runbooks alone are more", len(docs))
	}
	return docs
}

func readDocument(t *testing.T, path string) document {
	t.Helper()
	source, err := os.ReadFile(path)
	must(t, err)
	d := document{path: filepath.ToSlash(path), anchors: make(map[string]bool)}
	tree := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	must(t, ast.Walk(tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			d.add(node, source)
		}
		return ast.WalkContinue, nil
	}))
	return d
}

// add keeps what the node is.
func (d *document) add(node ast.Node, source []byte) {
	switch n := node.(type) {
	case *ast.Heading:
		d.anchors[d.anchor(plainText(n, source))] = true
	case *ast.Link:
		d.links = append(d.links, string(n.Destination))
	case *ast.Image:
		d.links = append(d.links, string(n.Destination))
	case *ast.AutoLink:
		d.links = append(d.links, string(n.URL(source)))
	case *ast.CodeSpan:
		d.spans = append(d.spans, plainText(n, source))
	case *ast.RawHTML:
		d.html = append(d.html, string(n.Segments.Value(source)))
	case *ast.HTMLBlock:
		d.html = append(d.html, string(n.Lines().Value(source)))
	case *ast.FencedCodeBlock:
		lines := n.Lines()
		if lines.Len() == 0 {
			return
		}
		start := lines.At(0).Start
		d.blocks = append(d.blocks, codeBlock{
			string(n.Language(source)), string(lines.Value(source)), 1 + bytes.Count(source[:start], []byte("\n")),
		})
	}
}

// anchor is what GitHub makes of a heading: small letters, no punctuation, hyphens for spaces, and a number where it is there already.
func (d *document) anchor(heading string) string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
	for n, first := 1, slug; d.anchors[slug]; n++ {
		slug = fmt.Sprintf("%s-%d", first, n)
	}
	return slug
}

// plainText is the text below a node.
func plainText(node ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// commandLines returns the lines of all blocks but those of Go, each with the lines that a backslash at its end joins to it.
func (d *document) commandLines() []string {
	var lines []string
	for _, block := range d.blocks {
		if block.language == "go" || block.language == "diff" {
			continue
		}
		joined := strings.ReplaceAll(block.text, "\\\n", " ")
		lines = slices.AppendSeq(lines, strings.Lines(joined))
	}
	return lines
}

// The links of all documents lead somewhere: to a file of the project, to a heading of a document, or, which is only looked at for its form, to
// another site.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	anchors := make(map[string]map[string]bool)
	for _, d := range docs {
		anchors[d.path] = d.anchors
	}
	checked := 0
	for _, d := range docs {
		for _, link := range d.links {
			checked++
			if err := checkLink(anchors, d.path, link); err != nil {
				t.Errorf("%s: link %s: %v", d.path, link, err)
			}
		}
	}
	if checked < 200 {
		t.Errorf("%d links were found; there are more", checked)
	}
}

// What looks like a tag is not shown, so there is none: <name> belongs into code, or is written &lt;name>.
func TestDocsHTML(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		for _, html := range d.html {
			if !strings.HasPrefix(html, "<!--") {
				t.Errorf("%s: %s is HTML, and not shown", d.path, strings.TrimSpace(html))
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.md")
	must(t, os.WriteFile(path, []byte("# One, `two` & three_4\n\n[a](b.md#c) ![d](e.png)\n\n| x |\n|---|\n| `f` [g](h) <i>|\n\n## Twice\n## Twice\n\n"+
		"```sh\nmake \\\n  it\n```\n"), 0o600))
	d := readDocument(t, path)
	for _, anchor := range []string{"one-two--three_4", "twice", "twice-1"} {
		if !d.anchors[anchor] {
			t.Errorf("there is no anchor %s; there are %v", anchor, d.anchors)
		}
	}
	if got := strings.Join(d.links, " "); got != "b.md#c e.png h" {
		t.Errorf("links are %q", got)
	}
	if got := strings.Join(d.html, " "); got != "<i>" {
		t.Errorf("HTML is %q", got)
	}
	if got := strings.Join(d.spans, " "); got != "two f" {
		t.Errorf("code is %q", got)
	}
	if len(d.blocks) != 1 || d.blocks[0] != (codeBlock{"sh", "make \\\n  it\n", 13}) || d.commandLines()[0] != "make    it\n" {
		t.Errorf("blocks are %v, lines %q", d.blocks, d.commandLines())
	}
	anchors := map[string]map[string]bool{"README.md": {"here": true}, "docs/a.md": {"there": true}}
	for link, ok := range map[string]bool{
		"#here": true, "#there": false, "docs/alerts.md": true, "docs/nothing.md": false, "/README.md": false,
		"../README.md": false, "https://example.org/a#b": true, "http://example.org/": false, "https:///x": false, "ftp://example.org": false, "": false,
		"mailto:a@example.org": true,
	} {
		if err := checkLink(anchors, "README.md", link); (err == nil) != ok {
			t.Errorf("link %q: error %v; want none: %v", link, err, ok)
		}
	}
	if err := checkLink(anchors, "docs/a.md", "../README.md#here"); err != nil {
		t.Error(err)
	}
}
