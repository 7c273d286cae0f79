// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// portRows are the matrix of servers and ports.
func portRows(st *status.View) [][]terminal.Cell {
	m := st.Matrix()
	if len(m.Columns) == 0 {
		return nil
	}
	numbers, names, variants := []string{""}, []string{""}, []string{""}
	for _, c := range m.Columns {
		number := "*"
		if c.Number > 0 {
			number = strconv.Itoa(c.Number)
		}
		name, variant := columnName(c)
		numbers, names, variants = append(numbers, number), append(names, name), append(variants, variant)
	}
	rows := [][]terminal.Cell{header(numbers...), header(names...)}
	if strings.Join(variants, "") != "" {
		rows = append(rows, header(variants...))
	}
	for _, r := range m.Rows {
		row := []terminal.Cell{plain(r.Name)}
		for _, p := range r.Ports {
			row = append(row, portCell(p))
		}
		rows = append(rows, row)
	}
	return rows
}

// columnName is what is spoken on the ports in the column, in few letters, and what tells it apart from another column.
func columnName(c status.Column) (name, variant string) {
	name, tls := strings.CutSuffix(strings.TrimPrefix(string(c.Protocol), "serf_"), "_tls")
	switch {
	case tls:
		variant = "tls"
	case c.Transport == cluster.TransportUDP:
		variant = c.Transport
	}
	return name, variant
}

// portStyles are how the states of ports look.
var portStyles = map[verdict.PortState]terminal.Style{
	verdict.PortUp: terminal.Green, verdict.PortAccepts: terminal.Cyan, verdict.PortHangs: terminal.Alarm, verdict.PortDown: terminal.Alarm,
	verdict.PortUnknown: terminal.Cyan, verdict.PortNotAsked: terminal.Dim,
}

// portCell says how a port is: how long it took to answer, in milliseconds, or its state.
func portCell(p *status.PortStatus) terminal.Cell {
	switch {
	case p == nil:
		return terminal.Cell{Text: dash, Style: terminal.Dim}
	case p.State == verdict.PortUp:
		return terminal.Cell{Text: inMilliseconds(p.Seconds), Style: portStyles[p.State]}
	default:
		return terminal.Cell{Text: string(p.State), Style: portStyles[p.State]}
	}
}

func inMilliseconds(seconds float64) string {
	if ms := seconds * 1000; ms < 9.95 {
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(seconds*1000, 'f', 0, 64)
}

// troubleRows say for each server why its ports do not answer, or are not asked.
func troubleRows(st *status.View) [][]terminal.Cell {
	var rows [][]terminal.Cell
	for _, t := range st.PortTroubles() {
		why := t.Reason
		if why == "" {
			why = string(t.State)
		}
		rows = append(rows, []terminal.Cell{
			plain(t.Server), {Text: why, Style: portStyles[t.State]}, plain(strings.Join(t.Ports, ", ") + ": " + t.Text),
		})
	}
	return rows
}
