// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Matrix has a row for each server, and for the agent if it is none of them, and a column for each port that any of them has.
type Matrix struct {
	Columns []Column
	Rows    []Row
}

// Column is what the ports in one column have in common.
type Column struct {
	Protocol  cluster.Protocol
	Transport string
	// Number is that of the ports, if all have the same; 0 if not.
	Number int
}

// Row has the ports of one server in the order of the columns; nil where it has none.
type Row struct {
	Name  string
	Ports []*PortStatus
}

// Matrix returns that of all ports that were probed.
func (v *View) Matrix() Matrix {
	var m Matrix
	all := v.probed()
	for _, protocol := range cluster.Protocols() {
		for _, transport := range []string{cluster.TransportTCP, cluster.TransportUDP} {
			if c, ok := newColumn(protocol, transport, all); ok {
				m.Columns = append(m.Columns, c)
			}
		}
	}
	for _, p := range all {
		row := Row{Name: p.name}
		for _, c := range m.Columns {
			row.Ports = append(row.Ports, c.of(p.ports))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

// probed is one server, or the agent, with its ports.
type probed struct {
	name  string
	ports []PortStatus
}

func (v *View) probed() []probed {
	var all []probed
	for i := range v.Servers {
		all = append(all, probed{v.Servers[i].Name, v.Servers[i].Ports})
	}
	if len(v.Agent.Ports) > 0 {
		all = append(all, probed{cmp.Or(v.Agent.Name, v.Agent.Address), v.Agent.Ports})
	}
	return all
}

// newColumn returns the column of a protocol, unless it is empty.
func newColumn(protocol cluster.Protocol, transport string, all []probed) (c Column, ok bool) {
	c = Column{Protocol: protocol, Transport: transport}
	for _, s := range all {
		switch p := c.of(s.ports); {
		case p == nil:
		case !ok:
			c.Number, ok = p.Port, true
		case c.Number != p.Port:
			c.Number = 0
			return c, true
		}
	}
	return c, ok
}

// of returns the port that belongs into the column; nil if there is none.
func (c Column) of(ports []PortStatus) *PortStatus {
	i := slices.IndexFunc(ports, func(p PortStatus) bool { return c.Protocol == p.Protocol && c.Transport == p.Transport })
	if i < 0 {
		return nil
	}
	return &ports[i]
}

// PortTrouble is why ports of a server do not answer, or why nothing is known about them. Ports that fail for the same reason share one, with the
// first one's text, and so do ports that were not asked and have the same text.
type PortTrouble struct {
	Server string
	// Ports are as PortStatus.Name has them.
	Ports  []string
	State  PortState
	Reason string
	// Text says why, without the addresses of both ends.
	Text string
}

// PortTroubles are those of all servers and of the agent, in their order.
func (v *View) PortTroubles() []PortTrouble {
	var all []PortTrouble
	for _, s := range v.probed() {
		first := len(all)
		for i := range s.ports {
			p := &s.ports[i]
			text := ends.ReplaceAllString(cmp.Or(p.Error, p.Note), "")
			if text == "" {
				continue
			}
			j := slices.IndexFunc(all[first:], func(t PortTrouble) bool { return t.Reason == p.Reason && (t.Text == text || p.State.failed()) })
			if j < 0 {
				all = append(all, PortTrouble{Server: s.name, State: p.State, Reason: p.Reason, Text: text})
				j = len(all) - 1 - first
			}
			all[first+j].Ports = append(all[first+j].Ports, p.Name())
		}
	}
	return all
}

// ends are the two ends of a connection in an error of package net: which they are is clear, but for a number that tells nothing.
var ends = regexp.MustCompile(`\b(read|write|dial) (tcp|udp) \S+: `)

// Name is the port's number as an operator says it: UDP is the one that needs to be told apart.
func (p *PortStatus) Name() string {
	if p.Transport == cluster.TransportUDP {
		return strconv.Itoa(p.Port) + "/udp"
	}
	return strconv.Itoa(p.Port)
}

// Has reports whether an alert's problem is among those of the view, for this server.
func (v *View) Has(alert, server string) bool {
	return slices.ContainsFunc(v.Problems, func(p Problem) bool { return p.Alert == alert && p.Server == server })
}
