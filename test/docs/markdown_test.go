// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// documents are all Markdown files of the project.
func documents(t *testing.T) []harness.Document {
	t.Helper()
	var docs []harness.Document
	harness.Must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			docs = append(docs, harness.ReadDocument(t, path))
		}
		return nil
	}))
	if len(docs) < 60 {
		t.Fatalf("there are %d documents; runbooks alone are more", len(docs))
	}
	return docs
}

// The links of all documents lead somewhere: to a file of the project, to a heading of a document, or, which is only looked at for its form, to
// another site.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	anchors := make(map[string]map[string]bool)
	for _, d := range docs {
		anchors[d.Path] = d.Anchors
	}
	checked := 0
	for _, d := range docs {
		for _, link := range d.Links {
			checked++
			if err := checkLink(anchors, d.Path, link); err != nil {
				t.Errorf("%s: link %s: %v", d.Path, link, err)
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
		for _, html := range d.HTML {
			if !strings.HasPrefix(html, "<!--") {
				t.Errorf("%s: %s is HTML, and not shown", d.Path, strings.TrimSpace(html))
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.md")
	harness.Must(t, os.WriteFile(path, []byte("# One, `two` & three_4\n\n[a](b.md#c) ![d](e.png)\n\n| x |\n|---|\n| `f` [g](h) <i>|\n\n## Twice\n## Twice\n\n"+
		"```sh\nmake \\\n  it\n```\n"), 0o600))
	d := harness.ReadDocument(t, path)
	for _, anchor := range []string{"one-two--three_4", "twice", "twice-1"} {
		if !d.Anchors[anchor] {
			t.Errorf("there is no anchor %s; there are %v", anchor, d.Anchors)
		}
	}
	if got := strings.Join(d.Links, " "); got != "b.md#c e.png h" {
		t.Errorf("links are %q", got)
	}
	if got := strings.Join(d.HTML, " "); got != "<i>" {
		t.Errorf("HTML is %q", got)
	}
	if got := strings.Join(d.Spans, " "); got != "two f" {
		t.Errorf("code is %q", got)
	}
	if len(d.Blocks) != 1 || d.Blocks[0] != (harness.CodeBlock{Language: "sh", Text: "make \\\n  it\n", Line: 13}) || d.CommandLines()[0] != "make    it\n" {
		t.Errorf("blocks are %v, lines %q", d.Blocks, d.CommandLines())
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
