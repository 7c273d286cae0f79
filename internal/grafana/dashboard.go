// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package grafana reads the JSON of dashboards, as far as tests look at it.
package grafana

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// Dashboard is a dashboard. The panels of a collapsed row come after it, as they do of one that is not.
type Dashboard struct {
	UID, Title, Description string
	Templating              struct{ List []Variable }
	Annotations             struct{ List []Annotation }
	Links                   []Link
	Panels                  []Panel
}

// Link is a link at the top of a dashboard.
type Link struct {
	Type, URL string
	KeepTime  bool
}

// Variable is a choice at the top of a dashboard.
type Variable struct {
	Type, Name, AllValue string
	Multi, IncludeAll    bool
	Query                json.RawMessage
}

// Series returns the metric with its matchers that the values come from, and the label that has them.
func (v Variable) Series() (selector, label string, err error) {
	var query struct{ Query string }
	if err := json.Unmarshal(v.Query, &query); err != nil {
		return "", "", fmt.Errorf("query of the variable %s: %w", v.Name, err)
	}
	arguments, ok := strings.CutPrefix(strings.TrimSuffix(query.Query, ")"), "label_values(")
	comma := strings.LastIndex(arguments, ", ")
	if !ok || comma < 0 {
		return "", "", fmt.Errorf("query of the variable %s is %q; want label_values(metric, label)", v.Name, query.Query)
	}
	return arguments[:comma], arguments[comma+2:], nil
}

// Annotation marks times on all graphs.
type Annotation struct{ Name, Expr string }

// Panel is a panel, or the heading of a row.
type Panel struct {
	Type, Title, Description string
	// Collapsed is whether a row shows its panels only when it is clicked on.
	Collapsed bool
	// Panels are those of a collapsed row.
	Panels []Panel
	// Interval is the least time between two points of a graph; mostly empty.
	Interval        string
	GridPos         struct{ X, W int }
	Targets         []Target
	FieldConfig     json.RawMessage
	Transformations []struct{ ID string }
}

// Target is a query of a panel.
type Target struct {
	RefID, Expr, LegendFormat string
	Instant, Range            bool
	Raw                       json.RawMessage `json:"-"`
}

// UnmarshalJSON also keeps the text.
func (t *Target) UnmarshalJSON(raw []byte) error {
	type plain Target
	t.Raw = raw
	return json.Unmarshal(raw, (*plain)(t))
}

// Parse reads a dashboard.
func Parse(content []byte) (Dashboard, error) {
	var d Dashboard
	if err := json.Unmarshal(content, &d); err != nil {
		return d, fmt.Errorf("read a dashboard: %w", err)
	}
	var panels []Panel
	for _, p := range d.Panels {
		panels = append(append(panels, p), p.Panels...)
	}
	d.Panels = panels
	return d, nil
}

// Substitute gives variables these values, or else those that they have when all is chosen, and intervals those of the
// last hour.
func (d Dashboard) Substitute(expr string, chosen map[string]string) string {
	pairs := []string{"$__rate_interval", "2m", "$__interval", "1m", "$__range", "1h"}
	for _, v := range d.Templating.List {
		pairs = append(pairs, "$"+v.Name, cmp.Or(chosen[v.Name], v.AllValue))
	}
	return strings.NewReplacer(pairs...).Replace(expr)
}
