// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
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
	HTML []string
}

// CodeBlock is a block between fences.
type CodeBlock struct {
	Language, Text string
	// Line is the number of its first line in the document.
	Line int
}

// ReadDocument takes a document apart, whose path is relative to the top folder.
func ReadDocument(t *testing.T, path string) Document {
	t.Helper()
	source, err := os.ReadFile(path)
	Must(t, err)
	d := Document{Path: filepath.ToSlash(path), Anchors: make(map[string]bool)}
	tree := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser().Parse(text.NewReader(source))
	Must(t, ast.Walk(tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			d.add(node, source)
		}
		return ast.WalkContinue, nil
	}))
	return d
}

// add keeps what the node is.
func (d *Document) add(node ast.Node, source []byte) {
	switch n := node.(type) {
	case *ast.Heading:
		d.Anchors[d.anchor(plainText(n, source))] = true
	case *ast.Link:
		d.Links = append(d.Links, string(n.Destination))
	case *ast.Image:
		d.Links = append(d.Links, string(n.Destination))
	case *ast.AutoLink:
		d.Links = append(d.Links, string(n.URL(source)))
	case *ast.CodeSpan:
		d.Spans = append(d.Spans, plainText(n, source))
	case *ast.RawHTML:
		d.HTML = append(d.HTML, string(n.Segments.Value(source)))
	case *ast.HTMLBlock:
		d.HTML = append(d.HTML, string(n.Lines().Value(source)))
	case *ast.FencedCodeBlock:
		lines := n.Lines()
		if lines.Len() == 0 {
			return
		}
		start := lines.At(0).Start
		d.Blocks = append(d.Blocks, CodeBlock{
			string(n.Language(source)), string(lines.Value(source)), 1 + bytes.Count(source[:start], []byte("\n")),
		})
	}
}

// anchor is what GitHub makes of a heading: small letters, no punctuation, hyphens for spaces, and a number where it is there already.
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

// CommandLines returns the lines of all blocks but those of Go, each with the lines that a backslash at its end joins to it.
func (d *Document) CommandLines() []string {
	var lines []string
	for _, block := range d.Blocks {
		if block.Language == "go" || block.Language == "diff" {
			continue
		}
		joined := strings.ReplaceAll(block.Text, "\\\n", " ")
		lines = slices.AppendSeq(lines, strings.Lines(joined))
	}
	return lines
}

// Update is whether a test is to write what is generated instead of comparing it.
var Update = flag.Bool("update", false, "write the generated tables of the documents instead of comparing them")

// AlertRule is a rule of a rule file; of a recording rule Alert is empty.
type AlertRule struct {
	Alert, For          string
	Labels, Annotations map[string]string
}

// AlertRules are the alerts of a rule file in its order.
func AlertRules(t *testing.T, f alerts.File) []AlertRule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []AlertRule }
	}
	Must(t, yaml.Unmarshal(f.Content, &file))
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
	content, err := os.ReadFile(file)
	Must(t, err)
	m := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindSubmatch(content)
	if m == nil {
		t.Fatalf("%s has no policy in HCL", file)
	}
	return string(m[1])
}
