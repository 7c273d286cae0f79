// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Formats of the pack.
const (
	// FormatRules is that of Prometheus's rule files.
	FormatRules = "rules"
	// FormatPrometheusRule is a resource for the Prometheus Operator.
	FormatPrometheusRule = "prometheusrule"
	// FormatMixin is a monitoring mixin, in Jsonnet.
	FormatMixin = "mixin"
)

// Files returns the pack in a format, as the files of a folder. They are those of Pack or a single one.
func Files(format string, given map[string]string) ([]File, error) {
	if !slices.Contains([]string{FormatRules, FormatPrometheusRule, FormatMixin}, format) {
		return nil, fmt.Errorf("--format: there is no format %q; want %s, %s or %s", format,
			FormatRules, FormatPrometheusRule, FormatMixin)
	}
	p, err := newPack(given)
	if err != nil {
		return nil, err
	}
	switch format {
	case FormatPrometheusRule:
		return []File{{"prometheusrule.yaml", prometheusRule(p.files, p.v.suffix())}}, nil
	case FormatMixin:
		content, err := mixin(p.files)
		return []File{{"mixin.libsonnet", content}}, err
	default:
		return p.files, nil
	}
}

// Single returns the pack in a format, as one text.
func Single(format string, given map[string]string) ([]byte, error) {
	files, err := Files(format, given)
	if err != nil {
		return nil, err
	}
	if format == FormatRules {
		return Join(files), nil
	}
	return files[0].Content, nil
}

const prometheusRuleHead = Marker + `
# For the Prometheus Operator. If your Prometheus selects by labels (ruleSelector), add them.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: consul-cluster-exporter%s
  labels:
    app.kubernetes.io/name: consul-cluster-exporter
spec:
  groups:
`

func prometheusRule(files []File, suffix string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, prometheusRuleHead, suffix)
	for _, f := range files {
		_, groups, _ := strings.Cut(string(f.Content), "\ngroups:\n")
		b.WriteString(indent(groups, "  "))
	}
	return b.Bytes()
}

var notEmpty = regexp.MustCompile(`(?m)^.`)

// indent indents the lines of a text that are not empty.
func indent(text, by string) string { return notEmpty.ReplaceAllString(text, by+"$0") }

// mixinGroup is a rule group as a mixin has it.
type mixinGroup struct {
	Name  string      `json:"name"`
	Rules []mixinRule `json:"rules"`
}

type mixinRule struct {
	Record        string            `json:"record,omitempty"`
	Alert         string            `json:"alert,omitempty"`
	Expr          string            `json:"expr"`
	For           string            `json:"for,omitempty"`
	KeepFiringFor string            `json:"keep_firing_for,omitempty" yaml:"keep_firing_for"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

const mixinHead = Marker + `
# A monitoring mixin. Load both, alerts and rules: the ones use the others.
`

// mixin has the alerts and the recording rules in groups of their own, which it adds to those that are there.
func mixin(files []File) ([]byte, error) {
	var alerts, rules []mixinGroup
	for _, f := range files {
		var file struct{ Groups []mixinGroup }
		if err := yaml.Unmarshal(f.Content, &file); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
		for _, g := range file.Groups {
			isAlert := func(r mixinRule) bool { return r.Alert != "" }
			recording := mixinGroup{g.Name + ".rules", slices.DeleteFunc(slices.Clone(g.Rules), isAlert)}
			if len(recording.Rules) > 0 {
				rules = append(rules, recording)
			}
			g.Rules = slices.DeleteFunc(g.Rules, func(r mixinRule) bool { return !isAlert(r) })
			if len(g.Rules) > 0 {
				alerts = append(alerts, g)
			}
		}
	}
	var b bytes.Buffer
	b.WriteString(mixinHead + "{\n")
	for _, part := range []struct {
		name   string
		groups []mixinGroup
	}{{"prometheusAlerts", alerts}, {"prometheusRules", rules}} {
		fmt.Fprintf(&b, "  %s+:: {\n    groups+: ", part.name)
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("    ", "  ")
		if err := encoder.Encode(part.groups); err != nil {
			return nil, fmt.Errorf("write %s: %w", part.name, err)
		}
		b.Truncate(b.Len() - 1) // The newline.
		b.WriteString(",\n  },\n")
	}
	b.WriteString("}\n")
	return b.Bytes(), nil
}
