// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	indent = "  "
	gap    = "  "
)

// table lays out rows of cells in columns, indented, with the first column as the title of each row. Where a row would take
// more than width columns, the table continues below with the first column repeated.
func table(rows [][]string) string {
	widths := columnWidths(rows)
	var b strings.Builder
	for first := 1; first < len(widths); {
		next, total := first, len(indent)+widths[0]
		for next < len(widths) && (next == first || total+len(gap)+widths[next] <= width) {
			total += len(gap) + widths[next]
			next++
		}
		if first > 1 {
			b.WriteByte('\n')
		}
		for _, row := range rows {
			writeRow(&b, row, widths, first, next)
		}
		first = next
	}
	return b.String()
}

// writeRow writes the title of a row and its cells from first to before next.
func writeRow(b *strings.Builder, row []string, widths []int, first, next int) {
	cells := []string{pad(row[0], widths[0])}
	for i := first; i < next; i++ {
		cells = append(cells, pad(row[i], widths[i]))
	}
	b.WriteString(strings.TrimRight(indent+strings.Join(cells, gap), " ") + "\n")
}

func pad(cell string, columns int) string {
	return cell + strings.Repeat(" ", columns-utf8.RuneCountInString(cell))
}

func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// portTable shows which server answers on which port.
func (s state) portTable() string {
	protocols, numbers := []string{"PORT"}, []string{""}
	for _, p := range s.ports {
		protocols = append(protocols, p.protocol)
		numbers = append(numbers, p.String())
	}
	rows := [][]string{protocols, numbers}
	for _, server := range s.servers {
		row := []string{server.name}
		for _, p := range s.ports {
			row = append(row, server.portCell(p))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

// portCell says how a port is: up in the time that an answer takes, open if no answer can be asked for, or DOWN and why.
func (s serverState) portCell(p port) string {
	state, ok := s.ports[p]
	switch {
	case !ok:
		return "-"
	case !state.up:
		return strings.TrimSpace("DOWN " + state.reason)
	case !state.verified:
		return "open " + milliseconds(state.seconds)
	default:
		return "up " + milliseconds(state.seconds)
	}
}

func milliseconds(seconds figure) string {
	if !seconds.known {
		return ""
	}
	ms := seconds.value * 1000
	if ms < 9.95 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// raftTable shows what each server says about Raft.
func (s state) raftTable() string {
	rows := [][]string{{"RAFT", "role", "calls leader", "term", "last log index", "lag"}}
	for _, server := range s.servers {
		role := server.raft
		if role == "" {
			role = "-"
		}
		rows = append(rows, []string{
			server.name, role, server.opinion(), server.term.String(), server.lastIndex.String(), server.lag.String(),
		})
	}
	return table(rows)
}

// opinion is whom the server calls leader.
func (s serverState) opinion() string {
	switch {
	case !s.hasLeader.known:
		return "-"
	case s.leader == "":
		return "nobody"
	default:
		return s.leader
	}
}

// memberLine counts the members of the LAN pool by status.
func (s state) memberLine() string {
	counts := make([]string, 0, len(s.members))
	for _, m := range s.members {
		counts = append(counts, m.count.String()+" "+m.status)
	}
	if len(counts) == 0 {
		return "unknown"
	}
	return strings.Join(counts, ", ")
}
