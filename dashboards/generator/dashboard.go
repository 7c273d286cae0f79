// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package generator writes the dashboards. There is one file for the content of each of them, overview.go and so on;
// the others render it as Grafana wants it. `make dashboards` runs it; the exporter itself has only what it writes.
//
// Four things hold for all dashboards:
//
//   - Panels about the present ask for the present, with instant queries: a value from before the exporter was lost
//     must not look like one of now.
//   - Of what several exporters say about one cluster, one value is taken, and nothing is counted twice. The labels
//     cluster, datacenter and job distinguish clusters, as in the alerts; tables show the worst of the chosen clusters.
//   - They need no recording rules. Only the alerts that fire come from the rules, and if these are not loaded, the
//     panel says so.
//   - What a version, an edition or an agent does not have is shown as "not available", by a separate value where the
//     query would have no result.
package generator

import (
	"bytes"
	"encoding/json"
	"fmt"
)

type dashboard struct {
	// name is that of its file, without ".json". The uid is "consul-" and the name.
	name, title, about string
	// variables are those that it has in addition to those of all dashboards.
	variables []object
	rows      []row
}

// row is a heading and the panels under it, which fill the width of a dashboard from left to right, line by line.
type row struct {
	title  string
	panels []panel
}

const (
	tag = "consul"
	// columnsOfGrid is the width of a dashboard.
	columnsOfGrid = 24
	// schemaVersion is that of Grafana 10.4. Later ones read it, too.
	schemaVersion = 39
)

// Files returns the content of each dashboard's file, by name.
func Files() (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, d := range []dashboard{overview(), ports(), raft(), gossip(), services(), exporter()} {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(d.json()); err != nil {
			return nil, fmt.Errorf("encode the dashboard %s: %w", d.name, err)
		}
		files[d.name+".json"] = b.Bytes()
	}
	return files, nil
}

func (d dashboard) json() object {
	return object{
		"uid":                  "consul-" + d.name,
		"title":                d.title,
		"description":          d.about + " Part of consul_cluster_exporter.",
		"tags":                 []string{tag},
		"schemaVersion":        schemaVersion,
		"version":              1,
		"editable":             false,
		"graphTooltip":         1, // A cursor at the same time on all graphs.
		"refresh":              "30s",
		"timezone":             "browser",
		"time":                 object{"from": "now-1h", "to": "now"},
		"timepicker":           object{},
		"fiscalYearStartMonth": 0,
		"weekStart":            "",
		"liveNow":              false,
		"links":                []object{links()},
		"annotations":          object{"list": []object{leaderChanges()}},
		"templating":           object{"list": append(commonVariables(), d.variables...)},
		"panels":               d.panels(),
	}
}

// panels gives all panels their places and numbers.
func (d dashboard) panels() []object {
	var all []object
	y := 0
	for _, r := range d.rows {
		all = append(all, object{
			"id": len(all) + 1, "type": "row", "title": r.title, "collapsed": false, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": columnsOfGrid, "h": 1},
		})
		y++
		x, height := 0, 0
		for _, p := range r.panels {
			p = p.withDefaults()
			if x+p.width > columnsOfGrid {
				x, y, height = 0, y+height, 0
			}
			all = append(all, p.json(len(all)+1, x, y))
			x, height = x+p.width, max(height, p.height)
		}
		y += height
	}
	return all
}

// datasource is the same for all queries.
func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func links() object {
	return object{
		"type": "dashboards", "tags": []string{tag}, "asDropdown": true, "includeVars": true, "keepTime": true,
		"title": "Consul", "icon": "external link", "tooltip": "The other dashboards about Consul", "targetBlank": false,
		"url": "",
	}
}

// leaderChanges marks elections on all graphs.
func leaderChanges() object {
	expr := words.Replace("max by (CLUSTER) (increase(consul_cluster_leader_changes_total{SEL}[$__rate_interval])) > 0")
	return object{
		"name": "Leader changes", "enable": true, "hide": false, "iconColor": "purple", "datasource": datasource(),
		"expr": expr, "titleFormat": "The leader or the term changed", "tagKeys": "cluster,datacenter,job",
	}
}

// commonVariables are what every dashboard can be narrowed down by. Prometheus need not have the labels cluster and
// datacenter: without them "All" must also match what has no such label, hence ".*". Job and instance are always
// there.
func commonVariables() []object {
	const scrapes = "consul_exporter_scrapes_total"
	return []object{
		{
			"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1, "hide": 0,
			"multi": false, "includeAll": false,
		},
		variable("cluster", "Cluster", scrapes, ".*"),
		variable("datacenter", "Datacenter", scrapes+`{cluster=~"$cluster"}`, ".*"),
		variable("job", "Job", scrapes+`{cluster=~"$cluster", datacenter=~"$datacenter"}`, ".+"),
		variable("instance", "Instance", scrapes+`{cluster=~"$cluster", datacenter=~"$datacenter", job=~"$job"}`, ".+"),
	}
}

// serverVariable narrows a dashboard down to servers. The agents that exporters ask are among them, because their ports
// are probed as well.
func serverVariable(metric string) object {
	return variable("server", "Server", words.Replace(metric+"{SEL}"), ".*")
}

// variable is a choice of the values that a label has in a metric.
func variable(label, title, metric, all string) object {
	query := fmt.Sprintf("label_values(%s, %s)", metric, label)
	return object{
		"type": "query", "name": label, "label": title, "datasource": datasource(),
		"query": object{"query": query, "refId": "Variable-" + label}, "definition": query,
		"multi": true, "includeAll": true, "allValue": all, "sort": 1, "refresh": 2, "hide": 0, "regex": "",
		"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
	}
}
