// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// inhibitRule is an inhibition of Alertmanager's.
type inhibitRule struct {
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	Equal  []string `yaml:"equal"`
}

// alertmanagerExample is the part of the example for Alertmanager that is documented.
type alertmanagerExample struct {
	Route struct {
		GroupBy []string `yaml:"group_by"`
	} `yaml:"route"`
	InhibitRules []inhibitRule `yaml:"inhibit_rules"`
}

func readAlertmanagerExample(t *testing.T) alertmanagerExample {
	t.Helper()
	file, err := alerts.Alertmanager(nil)
	harness.Must(t, err)
	var example alertmanagerExample
	harness.Must(t, yaml.Unmarshal(file.Content, &example))
	if len(example.InhibitRules) < 10 {
		t.Fatalf("the example has %d inhibitions; want 10 at least", len(example.InhibitRules))
	}
	return example
}

// packNames are the names of the alerts in the pack, in its order.
func packNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range harness.PackFiles(t, nil) {
		for _, r := range harness.AlertRules(t, f) {
			names = appendNew(names, r.Alert)
		}
	}
	return names
}

// inhibitionsTable lists what holds back what, in the order of the example.
func inhibitionsTable(t *testing.T) string {
	t.Helper()
	example, names := readAlertmanagerExample(t), packNames(t)
	var b strings.Builder
	b.WriteString("| cause | held back | of the same |\n|---|---|---|\n")
	for _, r := range example.InhibitRules {
		same := slices.DeleteFunc(slices.Clone(r.Equal), func(label string) bool {
			return label != "alertname" && slices.Contains(example.Route.GroupBy, label)
		})
		for i, label := range same {
			same[i] = strings.Replace(label, "alertname", "alert", 1)
		}
		if len(same) == 0 {
			same = []string{"cluster"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", matchersText(t, r.Source, names), matchersText(t, r.Target, names), strings.Join(same, ", "))
	}
	return b.String()
}

// matcherForm is how matchers are written in the example.
var matcherForm = regexp.MustCompile(`^(\w+)(=~?)"(.*)"$`)

// matchersText says which alerts of these names matchers match.
func matchersText(t *testing.T, matchers, names []string) string {
	t.Helper()
	var matched, qualified []string
	for _, m := range matchers {
		part := matcherForm.FindStringSubmatch(m)
		switch {
		case part == nil:
			t.Fatalf("%s is no matcher that this test knows", m)
		case part[1] == "alertname":
			matched = matchingNames(part[3], names)
		case part[1] == "severity":
			qualified = append(qualified, strings.ReplaceAll(part[3], "|", " or "))
		default:
			qualified = append(qualified, "`"+m+"`")
		}
	}
	text := "`" + strings.Join(matched, "`, `") + "`"
	if len(matched) == len(names) {
		text = "any alert"
	}
	return strings.Join(append([]string{text}, qualified...), ", ")
}

// matchingNames are those that an expression matches as Alertmanager has it, anchored at both ends.
func matchingNames(expression string, names []string) []string {
	anchored := regexp.MustCompile("^(?:" + expression + ")$")
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !anchored.MatchString(name) })
}

// innerGroup is a group without groups in it, with what is around it.
var innerGroup = regexp.MustCompile(`^(.*)\(([^()]*)\)(.*)$`)

// alternatives are those of an expression, with those of its groups written out.
func alternatives(expression string) []string {
	m := innerGroup.FindStringSubmatch(expression)
	if m == nil {
		return strings.Split(expression, "|")
	}
	before, head := splitLast(m[1])
	tail, after, more := strings.Cut(m[3], "|")
	var all []string
	if before != "" {
		all = alternatives(before)
	}
	for inner := range strings.SplitSeq(m[2], "|") {
		all = append(all, alternatives(head+inner+tail)...)
	}
	if more {
		all = append(all, alternatives(after)...)
	}
	return all
}

// splitLast splits at the last |.
func splitLast(s string) (before, after string) {
	i := strings.LastIndex(s, "|")
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// Each name in an inhibition is that of an alert: one that is misspelt would hold back nothing.
func TestInhibitions_Names(t *testing.T) {
	t.Parallel()
	names := packNames(t)
	for _, r := range readAlertmanagerExample(t).InhibitRules {
		for _, m := range slices.Concat(r.Source, r.Target) {
			part := matcherForm.FindStringSubmatch(m)
			if part == nil || part[1] != "alertname" {
				continue
			}
			for _, alternative := range alternatives(part[3]) {
				if len(matchingNames(alternative, names)) == 0 {
					t.Errorf("%s: no alert is named %s", m, alternative)
				}
			}
		}
	}
}

func TestAlternatives(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string][]string{
		"A":           {"A"},
		"A|B.*":       {"A", "B.*"},
		"A(B|C)D|E":   {"ABD", "ACD", "E"},
		"X|A(B|C)D|E": {"X", "ABD", "ACD", "E"},
	} {
		if got := alternatives(expression); !slices.Equal(got, want) {
			t.Errorf("%s: got %v; want %v", expression, got, want)
		}
	}
}
