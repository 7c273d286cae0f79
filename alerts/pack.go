// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package alerts has the recording rules and alerts for Prometheus that go with the exporter.
//
// The rules are templates in templates/, in which everything that an operator may want to change is a Setting. Pack
// renders them; the rule files in this folder are rendered with the defaults, so that they can be copied as they are.
// Routing and inhibition belong to Alertmanager, and are in alertmanager.example.yml.
//
// Their tests are in testdata/ and are run by promtool. Every alert has a page in docs/runbooks.
package alerts

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed templates/*.yml templates/alertmanager/*.yml
var templates embed.FS

// File is a file of the pack.
type File struct {
	// Name is without a folder, such as raft.yml.
	Name    string
	Content []byte
}

// Marker is the first line of each file of the pack, without its newline. It says that the file is the program's own,
// and may be replaced. Never change it: files of earlier versions have it too.
const Marker = "# Written by `consul_cluster_exporter alerts`, " +
	"which replaces this file each time it runs with --output-dir."

// Pack returns the rule files with these values of settings, by name, and the defaults for all others. What is wrong
// with the values is in the error, one problem in a line, each with its flag.
func Pack(given map[string]string) ([]File, error) {
	p, err := newPack(given)
	if err != nil {
		return nil, err
	}
	return p.files, nil
}

// Alertmanager returns the example of a configuration of Alertmanager, with the same values of settings as Pack. What
// matters to it is which labels tell clusters and packs apart, and how severe alerts are.
func Alertmanager(given map[string]string) (File, error) {
	p, err := newPack(given)
	if err != nil {
		return File{}, err
	}
	names := p.v.identity()
	for _, l := range p.v.labels {
		names = append(names, l.Name)
	}
	functions := p.v.functions()
	// In Alertmanager's lists labels are written as within a clause of PromQL.
	functions["inhibitions"] = func() string { return inhibitions(strings.Join(names, ", "), p.causes()) }
	functions["incident"] = func() string { return strings.Join(incident(names), ", ") }
	functions["names"] = func() []string { return names }
	for name, lines := range p.v.texts() {
		functions[name] = func(columns int) string { return folded(lines, columns) }
	}
	return render("templates/alertmanager/alertmanager.example.yml", functions)
}

// render renders a template. Prometheus and Alertmanager have {{ }} for themselves.
func render(file string, functions template.FuncMap) (File, error) {
	name, b := path.Base(file), new(bytes.Buffer)
	parsed, err := template.New(name).Delims("[[", "]]").Funcs(functions).ParseFS(templates, file)
	if err != nil {
		return File{}, fmt.Errorf("parse the template of %s: %w", name, err)
	}
	if err := parsed.Execute(b, nil); err != nil {
		return File{}, fmt.Errorf("render %s: %w", name, err)
	}
	return File{name, b.Bytes()}, nil
}

// functions are what the templates are written with.
func (v values) functions() template.FuncMap {
	lookup := func(from map[string]string) func(string) (string, error) {
		return func(name string) (string, error) {
			value, ok := from[name]
			if !ok {
				return "", fmt.Errorf("there is no setting %q", name)
			}
			return value, nil
		}
	}
	clause := func(keyword string, identity []string) func(...string) string {
		return func(more ...string) string {
			labels := slices.Clone(identity)
			for _, label := range more {
				if !slices.Contains(labels, label) {
					labels = append(labels, label)
				}
			}
			return fmt.Sprintf("%s (%s)", keyword, strings.Join(labels, ", "))
		}
	}
	percent := func(name string) (string, error) {
		ratio, err := lookup(v.promQL)(name)
		return strconv.FormatFloat(100*number(ratio), 'g', 4, 64) + "%", err
	}
	return template.FuncMap{
		// value is a setting in PromQL, where durations are seconds; text is as it was written; percent is for ratios.
		"value":   lookup(v.promQL),
		"text":    lookup(v.text),
		"percent": percent,
		// by and on are the clauses of PromQL with the labels that tell clusters apart, and further ones.
		"by": clause("by", v.identity()),
		"on": clause("on", v.identity()),
		// byCluster and onCluster are those without the datacenter: the datacenters of a cluster agree in these labels.
		"byCluster": clause("by", v.federation()),
		"onCluster": clause("on", v.federation()),
		// sharing are exporters that know a server which one of these exporters knows, too: all those of its cluster.
		"sharing": func(exporters string) string {
			return fmt.Sprintf(`(consul_server_info{id!=""} and %s (consul_server_info{id!=""} and %s %s))`,
				clause("on", v.identity())("id"), clause("on", v.identity())("instance"), exporters)
		},
		// over is a range as long as a setting, which is a duration; in a subquery with this step.
		"over": func(name, step string) (string, error) {
			text, err := lookup(v.text)(name)
			return "[" + text + ":" + step + "]", err
		},
		// where says which cluster an alert is about, at the beginning of a description: "Cluster production, datacenter
		// dc1: ". The text follows at once.
		"where": v.where,
		// silent names the servers that do not answer on port 8300, in a sentence of its own; nothing if there are none.
		"silent": v.silent,
		// words are those of a text, to repeat something for each.
		"words": strings.Fields,
		// steps is a range of PromQL over a setting, in 200 steps.
		"steps": v.steps,
		// serviceSeverity is that of the worst alert about services. services is a matcher for services to alert on, after
		// others, and chosen a selection of services by tag or meta; both are empty if none was chosen. instances names
		// those that are not passing, if they are few, and begins with a semicolon.
		"serviceSeverity": v.serviceSeverity,
		"services":        v.servicesMatcher,
		"chosen":          v.chosenServices,
		"instances":       v.instances,
		// runbook is the address of an alert's runbook.
		"runbook": v.runbook,
	}
}

// where is written as Prometheus's templates are.
func (v values) where() string { return v.cluster() + ": " }

// cluster names the cluster of $labels, in a template of Prometheus or Alertmanager. It leaves out labels that are
// empty. The job, which is mostly the same for all clusters, stands only in the place of the first label.
func (v values) cluster() string {
	var names []string
	unnamed := "Consul"
	for _, name := range v.identity() {
		if name == "job" {
			unnamed = "Job {{ $labels.job }}"
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return unnamed
	}
	var b strings.Builder
	first := strings.ToUpper(names[0][:1]) + names[0][1:]
	fmt.Fprintf(&b, "{{ with $labels.%s }}%s {{ . }}{{ else }}%s{{ end }}", names[0], first, unnamed)
	for _, name := range names[1:] {
		fmt.Fprintf(&b, "{{ with $labels.%[1]s }}, %[1]s {{ . }}{{ end }}", name)
	}
	return b.String()
}

// silent asks Prometheus when an alert fires.
func (v values) silent() string {
	matchers, arguments := `protocol=\"rpc\"`, ""
	for _, name := range v.identity() {
		matchers += "," + name + "=%q"
		arguments += " $labels." + name
	}
	return `{{ with query (printf "max by (server) (consul_port_up{` + matchers + `}) == 0"` + arguments + `) }}` +
		`No answer from {{ range $i, $s := . }}{{ if $i }}, {{ end }}{{ $s.Labels.server }}{{ end }}. {{ end }}`
}

// Join makes one rule file of all.
func Join(files []File) []byte {
	var b bytes.Buffer
	for i, f := range files {
		comment, groups, _ := bytes.Cut(f.Content, []byte("groups:\n"))
		if i == 0 {
			b.Write(comment)
			b.WriteString("groups:\n")
		} else {
			b.Write(bytes.TrimPrefix(comment, []byte(Marker+"\n")))
		}
		b.Write(groups)
	}
	return b.Bytes()
}
