// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// pack is the rule files with what was chosen.
type pack struct {
	v     values
	files []File
	// severities are those that the rules of an alert have without the operator's choice, by alert. It is nil where
	// nothing was chosen.
	severities map[string][]string
	// recorded are the recording rules, each with the name that it has in this pack: where two packs are in one
	// Prometheus, neither sees what the other one records.
	recorded map[string]string
}

// newPack renders the rule files. If nothing was chosen but thresholds they are what the templates say; otherwise they
// are read and written again, with their comments.
func newPack(given map[string]string) (*pack, error) {
	v, err := newValues(given)
	if err != nil {
		return nil, err
	}
	files, err := v.rules()
	if err != nil {
		return nil, err
	}
	p := &pack{v: v, files: files}
	if v.edits() {
		err = p.edit()
	}
	return p, err
}

// rules renders the rule files.
func (v values) rules() ([]File, error) {
	names, err := fs.Glob(templates, "templates/*.yml")
	if err != nil {
		return nil, fmt.Errorf("list the templates: %w", err)
	}
	var files []File
	for _, name := range names {
		file, err := render(name, v.functions())
		if err != nil {
			return nil, err
		}
		files = append(files, File{file.Name, append([]byte(Marker+"\n"), file.Content...)})
	}
	return files, nil
}

// edits reports whether something was chosen that the templates do not know of.
func (v values) edits() bool {
	return v.core || len(v.disabled)+len(v.severities)+len(v.delays)+len(v.labels)+len(v.matchers) > 0 ||
		v.text[settingDashboard] != ""
}

// edit makes of the files what was chosen.
func (p *pack) edit() error {
	docs, err := parseAll(p.files)
	if err != nil {
		return err
	}
	p.severities = severitiesOf(docs)
	p.recorded = make(map[string]string)
	for _, doc := range docs {
		for r := range doc.rules() {
			p.recorded[r.record()] = r.record() + strings.ReplaceAll(strings.Replace(p.v.suffix(), "-", ":", 1), "-", "_")
		}
	}
	delete(p.recorded, "") // Of the alerts.
	if err := p.check(); err != nil {
		return err
	}
	for _, doc := range docs {
		if err := p.editFile(doc); err != nil {
			return err
		}
	}
	if err := prune(docs); err != nil {
		return err
	}
	for i, doc := range docs {
		content, err := doc.render()
		if err != nil {
			return err
		}
		p.files[i].Content = content
	}
	return nil
}

// severitiesOf are the severities of each alert's rules.
func severitiesOf(docs []*ruleFile) map[string][]string {
	found := make(map[string][]string)
	for _, doc := range docs {
		for r := range doc.alerts() {
			found[r.alert()] = append(found[r.alert()], r.severity())
		}
	}
	return found
}

// check reports what was chosen about alerts and labels that there are not, or that must not be chosen.
func (p *pack) check() error {
	names := slices.Sorted(maps.Keys(p.severities))
	about := map[string][]string{
		listDisable:  p.v.disabled,
		listSeverity: slices.Sorted(maps.Keys(p.v.severities)),
		listFor:      slices.Sorted(maps.Keys(p.v.delays)),
	}
	var errs []error
	for _, list := range []string{listDisable, listSeverity, listFor} {
		for _, alert := range about[list] {
			err := p.checkAlert(list, alert, names)
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s: %w", list, err))
			}
		}
	}
	if err := p.checkLabels(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 && !slices.ContainsFunc(names, p.chosen) {
		errs = append(errs, errors.New("--disable: no alert is left"))
	}
	return errors.Join(errs...)
}

// checkAlert reports what is wrong with an alert in a list.
func (p *pack) checkAlert(list, alert string, names []string) error {
	switch setting := delayedBy[alert]; {
	case !slices.Contains(names, alert):
		return unknown(alert, names)
	case list == listFor && setting != "":
		return fmt.Errorf("%s waits for as long as --%[2]s says; want for example --%[2]s=2d", alert, setting)
	case list != listDisable && !p.chosen(alert):
		return fmt.Errorf("%s is left out, by --profile, --disable or --service-alerts", alert)
	}
	return nil
}

// chosen is whether the pack is to have an alert.
func (p *pack) chosen(alert string) bool {
	pages := slices.Contains(p.severities[alert], severities[0])
	return !slices.Contains(p.v.disabled, alert) && (pages || !p.v.core)
}

// checkLabels reports labels of the selector or of alerts that mean something in the rules.
func (p *pack) checkLabels() error {
	// Without the selector, whose labels are in all clauses.
	without := p.v
	without.matchers = nil
	files, err := without.rules()
	if err != nil {
		return err
	}
	docs, err := parseAll(files)
	if err != nil {
		return err
	}
	used, err := labelsIn(docs)
	if err != nil {
		return err
	}
	cluster := without.identity()
	var errs []error
	for _, m := range p.v.matchers {
		// The rules know the job as what every target has.
		if used[m.Name] && !slices.Contains(append(cluster, "job"), m.Name) {
			errs = append(errs, fmt.Errorf("--%s: %s is a label that tells things in a cluster apart; want one that tells "+
				`clusters apart, for example env="prod"`, settingSelector, m.Name))
		}
	}
	for _, l := range p.v.labels {
		if used[l.Name] || slices.Contains(p.v.identity(), l.Name) {
			errs = append(errs, fmt.Errorf("--%s: alerts have the label %s already; want for example team=platform",
				listLabel, l.Name))
		}
	}
	return errors.Join(errs...)
}

// editFile makes of the rules of a file what was chosen, except that recording rules may be left that nothing uses.
func (p *pack) editFile(doc *ruleFile) error {
	doc.keep(func(r rule) bool { return r.alert() == "" || p.chosen(r.alert()) })
	for _, alert := range slices.Sorted(maps.Keys(p.v.severities)) {
		doc.setSeverity(alert, p.v.severities[alert])
	}
	for r := range doc.rules() {
		expr := field(r.Node, "expr")
		edited, err := p.expression(expr.Value)
		if err != nil {
			return fmt.Errorf("%s%s: %w", r.alert(), r.record(), err)
		}
		expr.Value = edited
		if r.record() != "" {
			set(r.Node, "record", p.recorded[r.record()])
		}
	}
	for r := range doc.alerts() {
		if delay := p.v.delays[r.alert()]; delay != "" {
			set(r.Node, "for", delay)
		}
		for _, l := range p.v.labels {
			set(field(r.Node, "labels"), l.Name, l.Value)
		}
		if url := p.v.dashboard(doc.Name); url != "" {
			set(field(r.Node, "annotations"), "dashboard_url", url)
		}
	}
	for _, g := range doc.groups.Content {
		field(g, "name").Value += p.v.suffix()
	}
	return nil
}

// expression is one of the rules' for this pack: its selectors have the matchers of --selector, too, and what the
// rules record is under its name in this pack. What is between the selectors stays as it is.
func (p *pack) expression(expr string) (string, error) {
	parsed, err := promQL.ParseExpr(expr)
	if err != nil {
		return "", err
	}
	found := selectors(parsed)
	slices.SortFunc(found, func(a, b *parser.VectorSelector) int { return int(b.PosRange.Start - a.PosRange.Start) })
	for _, s := range found { // From the last one on, so that the positions of the others stay right.
		if name := p.recorded[s.Name]; len(p.v.matchers) == 0 && (name == "" || name == s.Name) {
			continue
		}
		s.LabelMatchers = append(s.LabelMatchers, p.v.matchers...)
		if name, ok := p.recorded[s.Name]; ok {
			s.Name = name
			isName := func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel }
			s.LabelMatchers = slices.DeleteFunc(s.LabelMatchers, isName)
		}
		expr = expr[:s.PosRange.Start] + s.String() + expr[s.PosRange.End:]
	}
	return expr, nil
}

// selectors are those of an expression.
func selectors(expr parser.Expr) (found []*parser.VectorSelector) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			found = append(found, s)
		}
		return nil
	})
	return found
}

// dashboards are the uids of those that show what a rule file is about.
var dashboards = map[string]string{
	"cluster.yml": "consul-gossip", "exporter.yml": "consul-exporter", "ports.yml": "consul-ports",
	"raft.yml": "consul-raft", "responder.yml": "consul-overview", "services.yml": "consul-services",
}

// variables are those of the dashboards that are labels of alerts, too.
var variables = []string{"cluster", "datacenter", "job", "instance", "server"}

// dashboard is the address of the dashboard for the alerts of a rule file, with the variables that the alert has labels
// for. It is empty if there is none.
func (v values) dashboard(file string) string {
	base := v.text[settingDashboard]
	if base == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(base, dashboardUID, dashboards[file]))
	separator := "?"
	if strings.Contains(base, "?") {
		separator = "&"
	}
	b.WriteString(separator)
	for _, label := range variables {
		fmt.Fprintf(&b, "{{ with $labels.%[1]s }}var-%[1]s={{ . | urlquery }}&{{ end }}", label)
	}
	return b.String()
}
