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
//     cluster, datacenter and job distinguish clusters, as in the alerts. Only the fleet shows several clusters.
//   - A color is a state: red is critical, orange a warning, green healthy, and gray unknown. What is no state, such as
//     the series of servers, has shades of blue.
//   - They need no recording rules. Only the alerts that fire come from the rules, and if these are not loaded, the
//     panel says so.
//   - What a version, an edition or an agent does not have is shown as "not available", by a separate value where the
//     query would have no result.
package generator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

type dashboard struct {
	// name is that of its file, without ".json". The uid is "consul-" and the name.
	name, title, about string
	// ofFleet is for the one dashboard on which several clusters can be chosen.
	ofFleet bool
	// variables are those that it has in addition to those of all dashboards.
	variables []object
	rows      []row
}

// row is a heading and the panels under it, which fill the width of a dashboard from left to right, line by line. Only
// the first row of a dashboard is open at first: Grafana does not query what is in a row that is not.
type row struct {
	title  string
	panels []panel
}

const (
	tag = "consul"
	// clusterTag is that of the dashboards that show a single cluster.
	clusterTag = "consul-cluster"
	// columnsOfGrid is the width of a dashboard.
	columnsOfGrid = 24
	// schemaVersion is that of Grafana 10.4. Later ones read it, too.
	schemaVersion = 39
)

// Files returns the content of each dashboard's file, by name.
func Files() (map[string][]byte, error) {
	files := make(map[string][]byte)
	for _, d := range []dashboard{fleet(), overview(), ports(), raft(), gossip(), services(), exporter()} {
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
		"tags":                 pick(d.ofFleet, []string{tag}, []string{tag, clusterTag}),
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
		"links":                d.links(),
		"annotations":          object{"list": []object{d.leaderChanges()}},
		"templating":           object{"list": append(d.commonVariables(), d.variables...)},
		"panels":               d.panels(),
	}
}

// panels gives all panels their places and numbers. Those of a collapsed row are in the row; their places are those
// that they have when all rows are open, and Grafana moves up what is below a collapsed one.
func (d dashboard) panels() []object {
	var all []object
	id, y := 0, 0
	next := func() int { id++; return id }
	for i, r := range d.rows {
		heading := object{
			"id": next(), "type": "row", "title": r.title, "collapsed": i > 0, "panels": []object{},
			"gridPos": object{"x": 0, "y": y, "w": columnsOfGrid, "h": 1},
		}
		panels, height := r.layout(y+1, next)
		all = append(all, heading)
		if i > 0 {
			heading["panels"] = panels
		} else {
			all = append(all, panels...)
		}
		y += 1 + height
	}
	return all
}

// layout gives the panels of a row their places, from y on, and says how high they are together.
func (r row) layout(y int, next func() int) (panels []object, height int) {
	x, line, top := 0, 0, y
	for _, p := range r.panels {
		p = p.withDefaults()
		if x+p.width > columnsOfGrid {
			x, y, line = 0, y+line, 0
		}
		panels = append(panels, p.json(next(), x, y))
		x, line = x+p.width, max(line, p.height)
	}
	return panels, y + line - top
}

// datasource is the same for all queries.
func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// links lead to the other dashboards: to those of a cluster with all that is chosen, and to the fleet without it.
func (d dashboard) links() []object {
	others := object{
		"type": "dashboards", "tags": []string{clusterTag}, "asDropdown": true, "includeVars": !d.ofFleet, "keepTime": true,
		"title": "Consul", "icon": "external link", "tooltip": "The dashboards about one cluster", "targetBlank": false,
		"url": "",
	}
	if d.ofFleet {
		return []object{others}
	}
	return []object{{
		"type": "link", "tags": []string{}, "asDropdown": false, "includeVars": false, "keepTime": true,
		"title": "Fleet", "icon": "dashboard", "tooltip": "All clusters", "targetBlank": false,
		"url": "/d/consul-fleet?${datasource:queryparam}",
	}, others}
}

// leaderChanges marks elections on all graphs.
func (d dashboard) leaderChanges() object {
	expr := words.Replace("max by (CLUSTER) (increase(consul_cluster_leader_changes_total{" +
		pick(d.ofFleet, "FLEET", "SEL") + "}[$__rate_interval])) > 0")
	return object{
		"name": "Leader changes", "enable": true, "hide": false, "iconColor": "purple", "datasource": datasource(),
		"expr": expr, "titleFormat": "The leader or the term changed", "tagKeys": "cluster,datacenter,job",
	}
}

// commonVariables are what every dashboard can be narrowed down by. Cluster, datacenter and job tell clusters apart, so
// there is one of each, except on the fleet's. Prometheus need not have the labels cluster and datacenter: then there
// is nothing to choose, and the empty value matches what has no such label, as does "All" on the fleet's, hence ".*".
// Job and instance are always there.
func (d dashboard) commonVariables() []object {
	const scrapes = "consul_exporter_scrapes_total"
	one := func(label, title, series, all string) object {
		if d.ofFleet {
			return variable(label, title, series, all)
		}
		return single(variable(label, title, series, ""))
	}
	equals := pick(d.ofFleet, "=~", "=")
	chosen := func(labels ...string) string {
		matchers := make([]string, 0, len(labels))
		for _, l := range labels {
			matchers = append(matchers, fmt.Sprintf(`%s%s"$%s"`, l, equals, l))
		}
		return scrapes + "{" + strings.Join(matchers, ", ") + "}"
	}
	return []object{
		{
			"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1, "hide": 0,
			"multi": false, "includeAll": false,
		},
		one("cluster", "Cluster", scrapes, ".*"),
		one("datacenter", "Datacenter", chosen("cluster"), ".*"),
		one("job", "Job", chosen("cluster", "datacenter"), ".+"),
		variable("instance", "Instance", chosen("cluster", "datacenter", "job"), ".+"),
	}
}

// single makes a variable have one value, and no "All".
func single(v object) object {
	v["multi"], v["includeAll"] = false, false
	delete(v, "allValue")
	delete(v, "current")
	return v
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
