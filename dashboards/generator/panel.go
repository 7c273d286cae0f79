// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

type object = map[string]any

// kind is Grafana's name of a type of panel.
type kind string

const (
	stat       kind = "stat"
	timeseries kind = "timeseries"
	table      kind = "table"
)

// panel is one panel of a dashboard, before it has a place.
type panel struct {
	kind          kind
	title         string
	width, height int
	// about says what the panel shows and which values are bad; alerts are the names of its alerts, with spaces.
	about, alerts string

	// expr and legend are those of the only query, queries those of several. By default the legend is made of the labels
	// of the first clause "by". What is optional is not available in every version or edition, or from every agent;
	// optionalMetric says the same where expr does not begin with the metric and its matchers.
	expr, legend   string
	optional       bool
	optionalMetric string
	queries        []query
	unit           string
	// decimals of values; 0 leaves it to Grafana if whole is not set.
	decimals int
	whole    bool
	// max is the upper end of a graph, if any.
	max float64
	// belowZero is for graphs that do not begin at 0.
	belowZero bool
	// noValue is shown in place of a value if there is none.
	noValue string

	// steps color a status. Without any, the panel shows no status.
	steps    []step
	mappings []object
	// colors are those of series, by legend.
	colors map[string]string

	// manySeries puts the legend of a graph beside it, where there is room for more than a dozen.
	manySeries bool
	// names makes a stat show the legends in place of the values.
	names bool
	// bars, stacked, stepped and lines (at the steps) are how a graph is drawn. A band is a graph of how many of a few are
	// in which state, and most of the time all are in one.
	bars, stacked, stepped, lines, band bool
	// interval is the least time between two points; Grafana decides without. A sparse graph has 100 points at most: it
	// is made of a series for each service. Four times the points take four times as long, and seconds in a large
	// catalog, see docs/performance.md.
	interval string
	sparse   bool

	transformations []object
	overrides       []object
	links           []object
}

type query struct {
	expr, legend string
}

// step is a color from this value on.
type step struct {
	from  float64
	color string
}

// lowest is the value of the first step, which has no lower end.
const lowest = -1 << 40

// day is in seconds.
const day = 86400

// goodFrom and the others are the usual steps.
func goodFrom(n float64) []step    { return []step{{lowest, red}, {n, green}} }
func badFrom(n float64) []step     { return []step{{lowest, green}, {n, red}} }
func warningFrom(n float64) []step { return []step{{lowest, green}, {n, orange}} }

func badFromTwo(warning, bad float64) []step {
	return []step{{lowest, green}, {warning, orange}, {bad, red}}
}

// quiet makes steps show nothing in place of the first color, for cells of tables and lines of graphs: where all is
// well they need no attention.
func quiet(steps []step) []step {
	steps[0].color = transparent
	return steps
}

// Colors of states, the same everywhere.
const (
	green  = "green"
	orange = "orange"
	red    = "red"
	blue   = "blue"
	gray   = "#8e8e8e"
	// neutral is the color of text.
	neutral     = "text"
	transparent = "transparent"
)

// shades are for series that are no states, such as those of servers.
var shades = object{"mode": "shades", "fixedColor": blue}

// mapped is a mapping of single values to text and color.
func mapped(entries []entry) object {
	options := object{}
	for i, e := range entries {
		result := object{"text": e.text, "index": i}
		if e.color != "" {
			result["color"] = e.color
		}
		options[e.value] = result
	}
	return object{"type": "value", "options": options}
}

// either maps 0, which is bad, and 1.
func either(no, yes string) object { return mapped([]entry{{"0", no, red}, {"1", yes, green}}) }

type entry struct{ value, text, color string }

// between maps a range of values; nil is no lower end.
func between(from any, to float64, text, color string) object {
	result := object{"text": text, "color": color, "index": 10}
	return object{"type": "range", "options": object{"from": from, "to": to, "result": result}}
}

// absent maps what is no number to "not available".
var absent = nothing(notAvailable, gray)

// unknown is for a cell next to one that says "not available".
var unknown = nothing("–", gray)

// empty leaves cells of a matrix empty for which there is no value.
var empty = nothing("", transparent)

func isNothing(mapping object) bool { return mapping["type"] == "special" }

func nothing(text, color string) object {
	result := object{"text": text, "color": color, "index": 20}
	return object{"type": "special", "options": object{"match": "null+nan", "result": result}}
}

// withDefaults is the panel with the usual values for the fields that are not set. Most panels are graphs.
func (p panel) withDefaults() panel {
	p.kind, p.unit = cmp.Or(p.kind, timeseries), cmp.Or(p.unit, "none")
	labels := groupedBy(p.expr)
	if p.optional || p.optionalMetric != "" {
		p.noValue = cmp.Or(p.noValue, notAvailable)
		absent := optionalOf
		if p.kind != timeseries {
			absent = optionalNow
		}
		p.expr = absent(p.expr, cmp.Or(p.optionalMetric, selector.FindString(p.expr)), append(labels, "cluster")[0])
	}
	switch p.kind {
	case stat:
		p.width, p.height, p.legend = cmp.Or(p.width, 4), cmp.Or(p.height, 4), cmp.Or(p.legend, clusterLegend)
	case timeseries:
		p.stepped, p.stacked = p.stepped || p.band, p.stacked || p.band
		p.width, p.height = cmp.Or(p.width, 8), cmp.Or(p.height, 8)
		if len(labels) > 0 {
			p.legend = cmp.Or(p.legend, "{{"+strings.Join(labels, "}} {{")+"}}")
		}
		p.whole = p.whole || p.unit == "none"
	}
	if p.kind != timeseries {
		p.noValue = cmp.Or(p.noValue, notKnown)
	}
	if p.expr != "" {
		p.queries = []query{{p.expr, p.legend}}
	}
	return p
}

func (p panel) json(id, x, y int) object {
	o := object{
		"id":          id,
		"type":        string(p.kind),
		"title":       p.title,
		"description": p.description(),
		"datasource":  datasource(),
		"gridPos":     object{"x": x, "y": y, "w": p.width, "h": p.height},
		"targets":     p.targets(),
		"fieldConfig": object{"defaults": p.defaults(), "overrides": p.allOverrides()},
		"options":     p.options(),

		"transformations": p.transformations,
		"interval":        pick(p.sparse, "1m", p.interval),
		"maxDataPoints":   pick(p.sparse, 100, 0),
	}
	maps.DeleteFunc(o, isUnset)
	return o
}

func isUnset(_ string, value any) bool { return reflect.ValueOf(value).IsZero() }

func pick[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}

func (p panel) description() string {
	names := strings.Fields(p.alerts)
	if len(names) == 0 {
		return p.about
	}
	return p.about + "\n\n" + pick(len(names) > 1, "Alerts: ", "Alert: ") + strings.Join(names, ", ") + "."
}

func (p panel) targets() []object {
	targets := make([]object, 0, len(p.queries))
	instant := p.kind != timeseries
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId":        refID(i),
			"datasource":   datasource(),
			"expr":         words.Replace(q.expr),
			"legendFormat": q.legend,
			"format":       pick(p.kind == table, "table", "time_series"),
			"instant":      instant,
			"range":        !instant,
			"editorMode":   "code",
		})
	}
	return targets
}

func (p panel) defaults() object {
	steps := p.steps
	if len(steps) == 0 {
		steps = []step{{lowest, neutral}}
	}
	d := object{
		"unit": p.unit, "max": p.max, "noValue": p.noValue, "mappings": p.allMappings(), "links": p.links,
		"thresholds": thresholds(steps), "custom": p.custom(),
		"color": pick(p.kind == timeseries, shades, object{"mode": "thresholds"}),
	}
	maps.DeleteFunc(d, isUnset)
	if p.decimals > 0 || p.whole {
		d["decimals"] = p.decimals
	}
	if p.kind == timeseries && !p.belowZero {
		d["min"] = 0
	}
	return d
}

// allMappings are those of the panel. On a colored background, unknown values are gray: otherwise they would have the
// color of the first step, which mostly means that all is well.
func (p panel) allMappings() []object {
	all := append([]object{}, p.mappings...)
	if p.kind == stat && len(p.steps) > 0 && !slices.ContainsFunc(all, isNothing) {
		all = append(all, nothing(p.noValue, gray))
	}
	return all
}

func thresholds(steps []step) object {
	list := make([]object, 0, len(steps))
	for i, s := range steps {
		list = append(list, object{"color": s.color, "value": pick[any](i == 0, nil, s.from)})
	}
	return object{"mode": "absolute", "steps": list}
}

// custom are the settings of fields that only this kind of panel has.
func (p panel) custom() object {
	switch p.kind {
	case stat:
		return nil
	case table:
		// Without a width of their own columns are as wide as the panel allows: a matrix of ten ports must not scroll.
		return object{"align": "auto", "cellOptions": object{"type": "auto"}, "minWidth": 60, "filterable": false}
	}
	c := object{
		"drawStyle":         pick(p.bars, "bars", "line"),
		"lineInterpolation": pick(p.stepped, "stepAfter", "linear"),
		"lineWidth":         pick(p.band, 0, 1),
		"fillOpacity":       pick(p.bars || p.band, 80, pick(p.stacked, 50, 0)),
		"showPoints":        "never",
		"spanNulls":         false,
		"stacking":          object{"mode": pick(p.stacked, "normal", "none"), "group": "A"},
		"thresholdsStyle":   object{"mode": pick(p.lines, "dashed", "off")},
	}
	if p.belowZero {
		return c
	}
	c["axisSoftMin"] = 0
	if p.unit != "s" && p.unit != "bytes" && p.unit != "percentunit" {
		c["axisSoftMax"] = 1 // Where all is 0, Grafana would draw up to 100.
	}
	if p.bars {
		c["barMaxWidth"] = 12 // A bar is as wide as the time to the next one, and there may be few.
	}
	return c
}

func (p panel) options() object {
	switch p.kind {
	case stat:
		return object{
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
			"colorMode":     pick(len(p.steps) > 0, "background_solid", "value"),
			"textMode":      pick(p.names, "name", "auto"),
			"graphMode":     "none", "justifyMode": "auto", "orientation": "auto",
		}
	case table:
		return object{"showHeader": true, "cellHeight": "sm"}
	default:
		return object{
			"legend": object{
				"showLegend": true, "displayMode": "list", "placement": pick(p.manySeries, "right", "bottom"), "calcs": []string{},
			},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
}

// serverColors are those of series with the name of a server, by the last digit of the name or of its first part,
// unless that is an address: shades alone are hard to tell apart. They say nothing about a state.
var serverColors = []string{
	"super-light-purple", "blue", "purple", "super-light-blue", "dark-purple", "semi-dark-blue", "light-purple",
	"dark-blue", "light-blue", "semi-dark-purple",
}

func colorsOfServers() []object {
	overrides := make([]object, 0, len(serverColors))
	for digit, color := range serverColors {
		overrides = append(overrides, object{
			"matcher":    object{"id": "byRegexp", "options": fmt.Sprintf(`/^[^.]*[a-zA-Z][^.]*%d(\..*)?$/`, digit)},
			"properties": []object{{"id": "color", "value": fixedColor(color).value}},
		})
	}
	return overrides
}

// allOverrides are those of servers, of the panel, and one for each color of a series, in the order of their names.
func (p panel) allOverrides() []object {
	all := []object{}
	if p.kind == timeseries && slices.ContainsFunc(p.queries, func(q query) bool { return q.legend == "{{server}}" }) {
		all = colorsOfServers()
	}
	all = append(all, p.overrides...)
	for _, name := range slices.Sorted(maps.Keys(p.colors)) {
		all = append(all, override(name, fixedColor(p.colors[name])))
	}
	return all
}

type property struct {
	id    string
	value any
}

// colored has these steps, and shown these mappings.
func colored(steps []step) property     { return property{"thresholds", thresholds(steps)} }
func shown(mappings ...object) property { return property{"mappings", mappings} }
func noValue(text string) property      { return property{"noValue", text} }

func fixedColor(color string) property {
	return property{"color", object{"mode": "fixed", "fixedColor": color}}
}

// override changes settings of the field with this name.
func override(name string, properties ...property) object {
	list := make([]object, 0, len(properties))
	for _, p := range properties {
		list = append(list, object{"id": p.id, "value": p.value})
	}
	return object{"matcher": object{"id": "byName", "options": name}, "properties": list}
}

// nameWidth is that of the column of names, which are longer than figures. The other columns share the rest.
var nameWidth = property{"custom.width", 140}

// cell is how a table's column is colored: the whole cell, by value.
var cell = property{"custom.cellOptions", object{"type": "color-background", "mode": "basic"}}

// override is that of the column of a table, in which cells without a value have this text.
func (c column) override(noValue string) object {
	properties := []property{{"unit", cmp.Or(c.unit, "none")}}
	mappings := slices.Clone(c.mappings)
	if len(c.steps) > 0 && c.steps[0].color != transparent && !slices.ContainsFunc(mappings, isNothing) {
		mappings = append(mappings, nothing(noValue, gray))
	}
	if len(mappings) > 0 {
		properties = append(properties, property{"mappings", mappings})
	}
	if len(c.steps) > 0 {
		properties = append(properties, property{"thresholds", thresholds(c.steps)}, cell)
	}
	return override(c.title, properties...)
}

// figuresPanel makes the table of these figures. The title of its first column is first.
func figuresPanel(p panel, f figures, first string) panel {
	p.kind = table
	p.expr = f.expr()
	order := object{f.row + `\figure`: 0}
	for i, c := range f.columns {
		order[c.title] = i + 1
		p.overrides = append(p.overrides, c.override(cmp.Or(p.noValue, notKnown)))
	}
	p.overrides = append(p.overrides, override(first, nameWidth))
	p.transformations = []object{
		sortedBy(f.row), matrix(f.row, "figure"), organize(order, map[string]string{f.row + `\figure`: first}),
	}
	return p
}

// serverPortMatrix makes a table that has a row for each server and a column for each port: of the values of this
// expression, which has the labels PORT. Where there is none, the cell is empty.
func serverPortMatrix(p panel, expr string) panel {
	p.kind = table
	p.mappings = append(p.mappings, empty)
	// A column is named "8301 serf_lan", and the next one, of the same port over UDP, "8301 udp".
	p.expr = `min by (CLUSTER, server, name) (label_replace(label_replace(label_join(` + expr + `, ` +
		`"name", " ", "port", "protocol", "transport"), ` +
		`"name", "$1", "name", "(.*) tcp"), "name", "$1 udp", "name", "(.*) .* udp"))`
	// The columns come in the order of their ports, and then the rows in that of their servers.
	p.transformations = []object{
		sortedBy("name"), matrix("server", "name"), sortedBy(`server\name`),
		organize(object{}, map[string]string{`server\name`: "Server"}),
	}
	plain := property{"custom.cellOptions", object{"type": "auto"}}
	p.overrides = []object{matrixCells, override("Server", plain, nameWidth)}
	return p
}

func transformation(id string, options object) object { return object{"id": id, "options": options} }

// organize orders and renames the columns of a table, and leaves out the time, and those that tell clusters apart and
// are not in the order.
func organize(order object, titles map[string]string) object {
	hidden := object{"Time": true}
	for _, label := range []string{"cluster", "datacenter", "job"} {
		if _, ok := order[label]; !ok {
			hidden[label] = true
		}
	}
	return transformation("organize", object{"excludeByName": hidden, "indexByName": order, "renameByName": titles})
}

// merged makes a row of what several queries say about the same labels. The value of each is then a column: see value.
func merged() object { return transformation("merge", object{}) }

// value is the column of a table with the values of the query of this index, of several.
func value(query int) string { return "Value #" + refID(query) }

func refID(query int) string { return string(rune('A' + query)) }

// columns are the columns of a table, in order: labels, or "Value". The title is after =, if it is not the same word.
func columns(names ...string) object {
	order, titles := object{}, map[string]string{}
	for i, name := range names {
		field, title, ok := strings.Cut(name, "=")
		if !ok {
			title = strings.ToUpper(field[:1]) + field[1:]
		}
		order[field], titles[field] = i, title
	}
	return organize(order, titles)
}

// labelColumns are columns without the value.
func labelColumns(names ...string) object { return without(columns(names...), "Value") }

// without leaves more columns out.
func without(organized object, names ...string) object {
	hidden := organized["options"].(object)["excludeByName"].(object)
	for _, name := range names {
		hidden[name] = true
	}
	return organized
}

// matrix makes a row of the results with the same row label, and a column for each value of the column label.
func matrix(row, column string) object {
	return transformation("groupingToMatrix", object{
		"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null",
	})
}

func sortedBy(field string) object {
	return transformation("sortBy", object{"sort": []object{{"field": field}}})
}

func sorted(field string, desc bool) object {
	return transformation("sortBy", object{"sort": []object{{"field": field, "desc": desc}}})
}

// linkTo leads to another dashboard with all that is chosen in this one, and further variables.
func linkTo(name, title string, more ...string) object {
	const chosen = "${datasource:queryparam}&${cluster:queryparam}&${datacenter:queryparam}&${job:queryparam}&" +
		"${instance:queryparam}"
	parameters := slices.Concat([]string{chosen}, more, []string{"${__url_time_range}"})
	return object{"title": title, "url": "/d/consul-" + name + "?" + strings.Join(parameters, "&")}
}
