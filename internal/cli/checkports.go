// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// probed is one server, or the agent, with its ports.
type probed struct {
	name  string
	ports []status.PortStatus
}

// probedOf returns all of which a port was probed.
func probedOf(st *status.View) []probed {
	var all []probed
	for i := range st.Servers {
		all = append(all, probed{st.Servers[i].Name, st.Servers[i].Ports})
	}
	if len(st.Agent.Ports) > 0 {
		all = append(all, probed{st.Agent.Name, st.Agent.Ports})
	}
	return all
}

// portColumn is what the ports in one column of the matrix have in common.
type portColumn struct {
	protocol  cluster.Protocol
	transport string
}

// of returns the port that belongs into the column; nil if there is none.
func (c portColumn) of(ports []status.PortStatus) *status.PortStatus {
	i := slices.IndexFunc(ports, func(p status.PortStatus) bool { return c == portColumn{p.Protocol, p.Transport} })
	if i < 0 {
		return nil
	}
	return &ports[i]
}

// portColumns returns the columns that are not empty.
func portColumns(all []probed) []portColumn {
	var columns []portColumn
	for _, protocol := range cluster.Protocols() {
		for _, transport := range []string{cluster.TransportTCP, cluster.TransportUDP} {
			c := portColumn{protocol, transport}
			if slices.ContainsFunc(all, func(s probed) bool { return c.of(s.ports) != nil }) {
				columns = append(columns, c)
			}
		}
	}
	return columns
}

// name is what is spoken on the ports in the column, in few letters, and what tells it apart from another column.
func (c portColumn) name() (name, variant string) {
	name, tls := strings.CutSuffix(strings.TrimPrefix(string(c.protocol), "serf_"), "_tls")
	switch {
	case tls:
		variant = "tls"
	case c.transport == cluster.TransportUDP:
		variant = c.transport
	}
	return name, variant
}

// number is that of the ports in the column, if all have the same.
func (c portColumn) number(all []probed) string {
	number := 0
	for _, s := range all {
		switch p := c.of(s.ports); {
		case p == nil:
		case number == 0:
			number = p.Port
		case number != p.Port:
			return "*"
		}
	}
	return strconv.Itoa(number)
}

// portRows are the matrix of servers and ports.
func portRows(st *status.View) [][]terminal.Cell {
	all := probedOf(st)
	columns := portColumns(all)
	if len(columns) == 0 {
		return nil
	}
	numbers, names, variants := []string{""}, []string{""}, []string{""}
	for _, c := range columns {
		name, variant := c.name()
		numbers, names, variants = append(numbers, c.number(all)), append(names, name), append(variants, variant)
	}
	rows := [][]terminal.Cell{header(numbers...), header(names...)}
	if strings.Join(variants, "") != "" {
		rows = append(rows, header(variants...))
	}
	for _, s := range all {
		row := []terminal.Cell{plain(s.name)}
		for _, c := range columns {
			row = append(row, portCell(c.of(s.ports)))
		}
		rows = append(rows, row)
	}
	return rows
}

// portCell says how a port is, in few letters: how long it took to answer, in milliseconds, or why not.
func portCell(p *status.PortStatus) terminal.Cell {
	switch {
	case p == nil:
		return terminal.Cell{Text: dash, Style: terminal.Dim}
	case p.Up == nil:
		return terminal.Cell{Text: "?", Style: terminal.Cyan}
	case p.Hung:
		return terminal.Cell{Text: "HUNG", Style: terminal.Alarm}
	case !*p.Up:
		return terminal.Cell{Text: "DOWN", Style: terminal.Alarm}
	case !p.Verified:
		return terminal.Cell{Text: "open", Style: terminal.Cyan}
	default:
		return terminal.Cell{Text: inMilliseconds(p.Seconds), Style: terminal.Green}
	}
}

func inMilliseconds(seconds float64) string {
	if ms := seconds * 1000; ms < 9.95 {
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(seconds*1000, 'f', 0, 64)
}

// failureRows say for each server why its ports are down; ports that are for the same reason share a row, and the first one's error
// stands for all.
func failureRows(st *status.View) [][]terminal.Cell {
	var rows [][]terminal.Cell
	for _, s := range probedOf(st) {
		var reasons []string // In the order of the ports.
		ports, errs := make(map[string][]string), make(map[string]string)
		for _, p := range s.ports {
			if p.Up == nil || *p.Up {
				continue
			}
			if ports[p.Reason] == nil {
				reasons = append(reasons, p.Reason)
				errs[p.Reason] = ends.ReplaceAllString(p.Error, "")
			}
			ports[p.Reason] = append(ports[p.Reason], portName(&p))
		}
		for _, reason := range reasons {
			rows = append(rows, []terminal.Cell{
				plain(s.name), {Text: reason, Style: terminal.Red}, plain(strings.Join(ports[reason], ", ") + ": " + errs[reason]),
			})
		}
	}
	return rows
}

// noteRows say which ports are not asked, and why; what is so for the same reason shares a row.
func noteRows(st *status.View) [][]terminal.Cell {
	var notes []string
	ports := make(map[string][]string)
	for _, s := range probedOf(st) {
		for _, p := range s.ports {
			if p.Note == "" {
				continue
			}
			if ports[p.Note] == nil {
				notes = append(notes, p.Note)
			}
			if name := portName(&p); !slices.Contains(ports[p.Note], name) {
				ports[p.Note] = append(ports[p.Note], name)
			}
		}
	}
	var rows [][]terminal.Cell
	for _, note := range notes {
		rows = append(rows, []terminal.Cell{plain(strings.Join(ports[note], ", ")), plain(note)})
	}
	return rows
}

// portName is the number as an operator says it.
func portName(p *status.PortStatus) string {
	if p.Transport == cluster.TransportUDP {
		return strconv.Itoa(p.Port) + "/udp"
	}
	return strconv.Itoa(p.Port)
}

// ends are the two ends of a connection in an error of package net: which they are is clear, but for a number that tells nothing.
var ends = regexp.MustCompile(`\b(read|write|dial) (tcp|udp) \S+: `)
