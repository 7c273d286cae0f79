// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Matrix has a row for each server, and for the agent if it is none of them, and a column for each port that any of
// them has.
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

// Matrix returns the matrix of all ports in the plan.
func (v *View) Matrix() Matrix {
	var m Matrix
	all := v.probed()
	for _, protocol := range cluster.Protocols() {
		for _, transport := range []string{cluster.TransportTCP, cluster.TransportUDP} {
			c := Column{Protocol: protocol, Transport: transport}
			var ports []*PortStatus
			var numbers []int // Those that are known.
			for _, s := range all {
				if p := c.of(s.ports); p != nil {
					ports = append(ports, p)
					numbers = append(numbers, p.Port)
				}
			}
			numbers = slices.DeleteFunc(numbers, func(n int) bool { return n == 0 })
			if len(ports) == 0 {
				continue
			}
			if len(numbers) > 0 && slices.Min(numbers) == slices.Max(numbers) {
				c.Number = numbers[0]
			}
			m.Columns = append(m.Columns, c)
		}
	}
	for _, s := range all {
		row := Row{Name: s.name}
		for _, c := range m.Columns {
			row.Ports = append(row.Ports, c.of(s.ports))
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

// of returns the port that belongs into the column; nil if there is none.
func (c Column) of(ports []PortStatus) *PortStatus {
	i := slices.IndexFunc(ports, func(p PortStatus) bool { return c.Protocol == p.Protocol && c.Transport == p.Transport })
	if i < 0 {
		return nil
	}
	return &ports[i]
}

// Meaning explains a state of ports.
type Meaning struct {
	State verdict.PortState
	Text  string
}

// meanings explain the states of ports that do not plainly answer.
var meanings = []Meaning{
	{verdict.PortHangs, "accepts connections but does not respond in time"},
	{verdict.PortDown, "does not respond"},
	{verdict.PortTurnedAway, "responds but turns the exporter away, so its health is unknown"},
	{verdict.PortUnknown, "could not be probed"},
	{verdict.PortAccepts, "accepts connections; its protocol was not probed"},
	{verdict.PortNotAsked, "not probed on purpose"},
}

// Meanings explain those states in the matrix that do not plainly mean that the port answers.
func (m Matrix) Meanings() []Meaning {
	has := func(state verdict.PortState) bool {
		return slices.ContainsFunc(m.Rows, func(r Row) bool {
			return slices.ContainsFunc(r.Ports, func(p *PortStatus) bool { return p != nil && p.State == state })
		})
	}
	var present []Meaning
	for _, meaning := range meanings {
		if has(meaning.State) {
			present = append(present, meaning)
		}
	}
	return present
}

// PortTrouble is why ports of a server do not answer, or why nothing is known about them. Ports that fail for the
// same reason share one, with the first one's text, and so do ports that were not asked and have the same text.
type PortTrouble struct {
	Server string
	// Ports are as PortStatus.Name has them.
	Ports  []string
	State  verdict.PortState
	Reason string
	// Text says why, without the addresses of both ends. It is an error unless Plain.
	Text  string
	Plain bool
}

// reasons say in plain words why a port does not answer, or why nothing is known about it.
var reasons = map[probe.Reason]string{
	probe.ReasonRefused:     "nothing listens there: the connection was refused",
	probe.ReasonTimeout:     "there was no response in time",
	probe.ReasonReset:       "the connection broke before the response was complete",
	probe.ReasonUnreachable: "there is no route to the server",
	probe.ReasonResolve:     "the server's name has no address",
	probe.ReasonTLS:         "the TLS handshake failed, or the certificate cannot be verified",
	probe.ReasonCertificate: "the server requires a client certificate, or rejects the exporter's",
	probe.ReasonName:        "the server's certificate is for another name",
	probe.ReasonAuth:        "the server does not accept the exporter's credentials",
	probe.ReasonProtocol:    "the response was not in the port's protocol",
	probe.ReasonLimit:       "the server turned the exporter away because of a limit",
	probe.ReasonOwnFault:    "the exporter itself could not probe it",
	probe.ReasonNoKey:       "gossip is encrypted, and the exporter has no key",
	probe.ReasonNotAllowed:  "the exporter is not allowed to connect",
	probe.ReasonHeldBack:    "the server turned the exporter away before, so the next probe waits",
}

// Why says in plain words why the ports do not answer, without details.
func (t *PortTrouble) Why() string {
	if t.Plain {
		return t.Text
	}
	return cmp.Or(reasons[probe.Reason(t.Reason)], "the probe failed")
}

// PortTroubles are those of all servers and of the agent, in their order.
func (v *View) PortTroubles() []PortTrouble {
	var all []PortTrouble
	for _, s := range v.probed() {
		for i := range s.ports {
			p := &s.ports[i]
			text := ends.ReplaceAllString(cmp.Or(p.Note, p.Error), "")
			if text == "" {
				continue
			}
			j := slices.IndexFunc(all, func(t PortTrouble) bool {
				return t.Server == s.name && t.Reason == p.Reason && (t.Text == text || p.State.Failed())
			})
			if j < 0 {
				j = len(all)
				all = append(all, PortTrouble{Server: s.name, State: p.State, Reason: p.Reason, Text: text, Plain: p.Note != ""})
			}
			all[j].Ports = append(all[j].Ports, p.Name())
		}
	}
	return all
}

// ends are the two ends of a connection in an error of package net, and its system call, which add nothing to the
// server and the port.
var ends = regexp.MustCompile(`\b(read|write|dial) (tcp|udp) \S+: (connect: )?`)

// Name is the port's number as operators say it, which distinguishes UDP only, or its protocol if the number is
// unknown.
func (p *PortStatus) Name() string { return nameOfPort(p.Port, p.Protocol, p.Transport) }

// Name is the same for all ports in the column.
func (c Column) Name() string { return nameOfPort(c.Number, c.Protocol, c.Transport) }

func nameOfPort(number int, protocol cluster.Protocol, transport string) string {
	name := strconv.Itoa(number)
	if number == 0 {
		name = string(protocol)
	}
	if transport == cluster.TransportUDP {
		name += "/udp"
	}
	return name
}
