// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"regexp"
	"strings"
)

// Control sequences of terminals, as xterm has them.
const (
	enterScreen = "\x1b[?1049h" // Another screen, so that what was on the terminal before is not lost.
	leaveScreen = "\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K" // From here on.
	clearBelow  = "\x1b[J"
)

// sequences are those that set a style.
var sequences = regexp.MustCompile("\x1b\\[[0-9;]*m")

// more is the last line when there are more lines than the terminal has.
const more = "..."

// Redraw prints what draw prints in place of what it printed the last time. Lines that do not fit on the terminal are
// left out. Anywhere else than on a terminal, one follows the other.
func (p *Printer) Redraw(draw func()) {
	if p.terminal == nil {
		if p.last != "" {
			p.write("\n")
		}
		p.last = p.drawn(draw)
		p.write(p.last)
		return
	}
	if !p.redraws {
		p.redraws = true
		p.write(enterScreen)
	}
	columns, rows := p.measure(p.terminal)
	p.last = p.drawn(draw)
	p.write(toTop + strings.Join(fitting(p.last, columns, rows), clearLine+"\n") + clearLine + clearBelow)
}

// drawn is what draw prints.
func (p *Printer) drawn(draw func()) string {
	var b strings.Builder
	w := p.w
	p.w = &b
	draw()
	p.w = w
	return b.String()
}

// fitting are the lines of a text that a terminal has room for; all if its size is not known. A line that is longer
// than the terminal is wide takes several rows.
func fitting(text string, columns, rows int) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if columns == 0 || rows == 0 {
		return lines
	}
	used := 0
	for i, line := range lines {
		used += 1 + max(Width(sequences.ReplaceAllString(line, ""))-1, 0)/columns
		if used > rows || (used == rows && i < len(lines)-1) {
			return append(lines[:i:i], more)
		}
	}
	return lines
}

// EndRedraw leaves the terminal as it was before Redraw, and the last that was printed below.
func (p *Printer) EndRedraw() {
	if p.redraws {
		p.redraws = false
		p.write(leaveScreen + p.last)
	}
}
