// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// ruleFile is a rule file that can be changed. Content is as it was read.
type ruleFile struct {
	File
	// groups is the list of rule groups, with comments.
	groups *yaml.Node
}

// rule is a rule of a rule file: a mapping.
type rule struct{ *yaml.Node }

func parseRules(f File) (*ruleFile, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(f.Content, &doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	return &ruleFile{f, field(doc.Content[0], "groups")}, nil
}

func parseAll(files []File) (docs []*ruleFile, err error) {
	for _, f := range files {
		doc, err := parseRules(f)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// field is what a mapping has under a key, or nil.
func field(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// set sets what a mapping has under a key.
func set(mapping *yaml.Node, key, value string) {
	if at := field(mapping, key); at != nil {
		at.Value = value
		return
	}
	var k, v yaml.Node
	k.SetString(key)
	v.SetString(value)
	mapping.Content = append(mapping.Content, &k, &v)
}

func (r rule) text(key string) string {
	if at := field(r.Node, key); at != nil {
		return at.Value
	}
	return ""
}

// alert is the name of an alert, and empty for a recording rule; record is the other way round.
func (r rule) alert() string  { return r.text("alert") }
func (r rule) record() string { return r.text("record") }

func (r rule) labels() map[string]string {
	labels := make(map[string]string)
	if at := field(r.Node, "labels"); at != nil {
		for i := 0; i+1 < len(at.Content); i += 2 {
			labels[at.Content[i].Value] = at.Content[i+1].Value
		}
	}
	return labels
}

func (r rule) severity() string { return r.labels()[labelSeverity] }

// rules are those of all groups.
func (f *ruleFile) rules() iter.Seq[rule] {
	return func(yield func(rule) bool) {
		for _, g := range f.groups.Content {
			for _, node := range field(g, "rules").Content {
				if !yield(rule{node}) {
					return
				}
			}
		}
	}
}

// alerts are the rules that are alerts.
func (f *ruleFile) alerts() iter.Seq[rule] {
	return func(yield func(rule) bool) {
		for r := range f.rules() {
			if r.alert() != "" && !yield(r) {
				return
			}
		}
	}
}

// keep leaves out all other rules, and the groups that have none any more.
func (f *ruleFile) keep(which func(rule) bool) {
	f.groups.Content = slices.DeleteFunc(f.groups.Content, func(g *yaml.Node) bool {
		rules := field(g, "rules")
		rules.Content = slices.DeleteFunc(rules.Content, func(node *yaml.Node) bool { return !which(rule{node}) })
		return len(rules.Content) == 0
	})
}

// setSeverity sets that of all rules of an alert. Where two would then send the same alert, the one that was more
// severe leaves out what the other one sends, and gets the label threshold with the severity that it had.
func (f *ruleFile) setSeverity(alert, severity string) {
	rules := slices.DeleteFunc(slices.Collect(f.alerts()), func(r rule) bool { return r.alert() != alert })
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(rank(b.severity()), rank(a.severity())) })
	for i, r := range rules {
		was := r.severity()
		set(field(r.Node, "labels"), labelSeverity, severity)
		same := slices.IndexFunc(rules[:i], func(other rule) bool { return maps.Equal(other.labels(), r.labels()) })
		if same < 0 {
			continue
		}
		set(field(r.Node, "labels"), "threshold", was)
		expr := field(r.Node, "expr")
		expr.Value = fmt.Sprintf("(\n%s\n)\n  unless\n(\n%s\n)", expr.Value, field(rules[same].Node, "expr").Value)
	}
}

// rank is 0 for the worst severity.
func rank(severity string) int { return slices.Index(severities, severity) }

// prune leaves out the recording rules that no alert uses, not even through another one.
func prune(files []*ruleFile) error {
	exprs := make(map[string]string)
	var todo []string
	for _, f := range files {
		for r := range f.rules() {
			if r.record() != "" {
				exprs[r.record()] = r.text("expr")
				continue
			}
			todo = append(todo, r.text("expr"))
		}
	}
	used := make(map[string]bool)
	for len(todo) > 0 {
		expr, err := promQL.ParseExpr(todo[0])
		if err != nil {
			return err
		}
		todo = todo[1:]
		for _, s := range selectors(expr) {
			if next := exprs[s.Name]; next != "" && !used[s.Name] {
				used[s.Name] = true
				todo = append(todo, next)
			}
		}
	}
	for _, f := range files {
		f.keep(func(r rule) bool { return r.alert() != "" || used[r.record()] })
	}
	return nil
}

// labelsIn are the labels that mean something in the rules: those by which they group, join and select, and those that
// alerts get.
func labelsIn(files []*ruleFile) (map[string]bool, error) {
	found := make(map[string]bool)
	for _, f := range files {
		for r := range f.rules() {
			for label := range r.labels() {
				found[label] = true
			}
			expr, err := promQL.ParseExpr(r.text("expr"))
			if err != nil {
				return nil, err
			}
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				for _, label := range labelsOf(node) {
					found[label] = true
				}
				return nil
			})
		}
	}
	delete(found, model.MetricNameLabel)
	return found, nil
}

// labelsOf are those that a node of an expression names, without those of the nodes below it.
func labelsOf(node parser.Node) (names []string) {
	switch n := node.(type) {
	case *parser.AggregateExpr:
		return n.Grouping
	case *parser.BinaryExpr:
		if n.VectorMatching != nil {
			return slices.Concat(n.VectorMatching.MatchingLabels, n.VectorMatching.Include)
		}
	case *parser.VectorSelector:
		for _, m := range n.LabelMatchers {
			names = append(names, m.Name)
		}
	case *parser.Call:
		for _, arg := range n.Args { // The strings of label_replace; what is no label does no harm.
			if s, ok := arg.(*parser.StringLiteral); ok {
				names = append(names, s.Val)
			}
		}
	}
	return names
}

// startOfRule is where a rule begins in the rendered list of groups, with the comments before it.
var startOfRule = regexp.MustCompile(`(?m)^(?:    #.*\n)*    - `)

// render is the file with what was changed.
func (f *ruleFile) render() ([]byte, error) {
	head, _, _ := bytes.Cut(f.Content, []byte("groups:\n"))
	out := append(bytes.Clone(head), "groups:\n"...)
	if len(f.groups.Content) == 0 {
		return out, nil
	}
	for r := range f.rules() {
		if expr := field(r.Node, "expr"); strings.Contains(expr.Value, "\n") {
			expr.Style = yaml.LiteralStyle
		}
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(f.groups); err != nil {
		return nil, fmt.Errorf("write %s: %w", f.Name, err)
	}
	spaced := startOfRule.ReplaceAllString(b.String(), "\n$0")
	spaced = strings.ReplaceAll(spaced, "  rules:\n\n", "  rules:\n")
	return append(out, indent(spaced, "  ")...), nil
}
