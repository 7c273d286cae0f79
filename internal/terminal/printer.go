// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package terminal writes texts and tables for people, aligned whatever alphabet the names in them are of, and in
// colors where there is somebody to see them. Texts may come from anywhere: what could move the cursor or change the
// terminal is written as an escape sequence that can be read.
package terminal

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mattn/go-isatty"
)

// The columns that texts may take: those of the terminal, if they are not too few or too many to read. Narrow fits into
// a chat, a ticket and a phone.
const (
	Narrow     = minColumns
	minColumns = 60
	maxColumns = 120
)

// gap is what is between two columns of a table.
const gap = "  "

// minProse is how many columns the last column of a table needs, if it does not fit: with fewer it is hard to read.
const minProse = 36

// Style is how a text looks on a terminal: the parameters of the control sequence for it (ECMA-48, 8.3.117: SGR).
// Empty is as always.
type Style string

// The styles.
const (
	Bold   Style = "1"
	Dim    Style = "2"
	Green  Style = "32"
	Yellow Style = "33"
	Cyan   Style = "36"
	// Alarm is for what must not be overlooked.
	Alarm Style = "1;31"
)

// Cell is a text in a style.
type Cell struct {
	Text  string
	Style Style
}

// Color is when there are colors.
type Color string

// The choices of colors. Auto has them on a terminal that shows them, unless somebody wants none
// (https://no-color.org).
const (
	ColorAuto   Color = "auto"
	ColorAlways Color = "always"
	ColorNever  Color = "never"
)

// Printer writes to a terminal, or to a file in the same way. It keeps the first error, for Err.
type Printer struct {
	w io.Writer
	// terminal is nil if w is none, or one that obeys no control sequences.
	terminal *os.File
	colored  bool
	columns  int
	err      error
	// redraws is whether the terminal shows what Redraw drew, and last is that.
	redraws bool
	last    string
}

// NewPrinter returns a printer. What is written to anything but a terminal takes this many columns.
func NewPrinter(w io.Writer, color Color, columns int) *Printer {
	p := &Printer{w: w, columns: columns, colored: color == ColorAlways}
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return p
	}
	if os.Getenv("TERM") != "dumb" {
		p.terminal = f
		p.colored = p.colored || (color == ColorAuto && os.Getenv("NO_COLOR") == "")
	}
	p.measure(f)
	return p
}

// measure sets the columns that texts may take on a terminal, and returns its size; 0 if it does not tell.
func (p *Printer) measure(f *os.File) (columns, rows int) {
	columns, rows = terminalSize(f)
	p.columns = min(max(columns, minColumns), maxColumns)
	return columns, rows
}

// Err returns the first error of writing.
func (p *Printer) Err() error { return p.err }

func (p *Printer) write(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text)
	}
}

// Line writes cells one after the other, and wraps the last one so that it continues below where it began.
func (p *Printer) Line(cells ...Cell) {
	indent := 0
	for i, c := range cells {
		text := Clean(c.Text)
		if i == len(cells)-1 {
			text = Wrap(text, indent, p.columns)
		}
		indent += Width(text)
		p.write(p.styled(text, c.Style))
	}
	p.write("\n")
}

// Table writes rows in columns, with an indent. The last column is a text, which wraps and continues below where it
// began; if there is little room for it, it is on lines of its own, below the others.
func (p *Printer) Table(indent string, rows [][]Cell) {
	widths := columnWidths(rows, 1)
	below := p.leavesNoRoom(Width(indent), widths, rows)
	for _, row := range rows {
		column := Width(indent)
		var line strings.Builder
		line.WriteString(indent)
		for i, c := range row {
			text, padding := Clean(c.Text), ""
			switch {
			case i < len(row)-1:
				padding = strings.Repeat(" ", widths[i]-Width(text)) + gap
				column += widths[i] + len(gap)
			case below && text != "":
				column = Width(indent) + len(gap)
				text = strings.Repeat(" ", column) + Wrap(text, column, p.columns)
				p.write(strings.TrimRight(line.String(), " ") + "\n")
				line.Reset()
			default:
				text = Wrap(text, column, p.columns)
			}
			line.WriteString(p.styled(text, c.Style) + padding)
		}
		p.write(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// leavesNoRoom reports whether the last columns have little room, and a text in them needs more.
func (p *Printer) leavesNoRoom(indent int, widths []int, rows [][]Cell) bool {
	return slices.ContainsFunc(rows, func(row []Cell) bool {
		room := p.columns - indent
		for i := range row[:max(len(row)-1, 0)] {
			room -= widths[i] + len(gap)
		}
		return len(row) > 1 && room < minProse && Width(Clean(row[len(row)-1].Text)) > room
	})
}

// Grid writes rows of as many cells each in columns, with an indent. If they do not fit, what is left follows in
// another table below, which has the first column, too.
func (p *Printer) Grid(indent string, rows [][]Cell) {
	if len(rows) == 0 {
		return
	}
	widths := columnWidths(rows, 0)
	for i, columns := range p.folded(Width(indent), widths) {
		if i > 0 {
			p.write("\n")
		}
		for _, row := range rows {
			var line strings.Builder
			line.WriteString(indent)
			for _, column := range columns {
				text := Clean(row[column].Text)
				line.WriteString(p.styled(text, row[column].Style))
				line.WriteString(strings.Repeat(" ", widths[column]-Width(text)) + gap)
			}
			if text := strings.TrimRight(line.String(), " "); text != "" { // A heading may have lines for other columns only.
				p.write(text + "\n")
			}
		}
	}
}

// folded says which columns are in which of the tables: as few tables as are enough, and none much wider than another.
func (p *Printer) folded(indent int, widths []int) [][]int {
	fold := func(most int) (tables [][]int) {
		room := 0
		for column := 1; column < len(widths); column++ {
			needed := len(gap) + widths[column]
			if len(tables) == 0 || room < needed || len(tables[len(tables)-1]) > most {
				tables = append(tables, []int{0})
				room = p.columns - indent - widths[0]
			}
			tables[len(tables)-1] = append(tables[len(tables)-1], column)
			room -= needed
		}
		return tables
	}
	tables := fold(len(widths))
	if n := len(tables); n > 1 {
		if even := fold((len(widths) + n - 2) / n); len(even) == n {
			return even
		}
	}
	return tables
}

// columnWidths returns the width of each column, without so many cells at the end of each row.
func columnWidths(rows [][]Cell, without int) []int {
	var widths []int
	for _, row := range rows {
		for i := range row[:max(len(row)-without, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(Clean(row[i].Text)))
		}
	}
	return widths
}

// styled puts the control sequences around a text. A text of several lines has them around each.
func (p *Printer) styled(text string, style Style) string {
	if !p.colored || style == "" || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Wrap breaks a text at spaces so that no line takes more columns, with the indent before every line but the first. A
// word that is too long for any line is not broken.
func Wrap(text string, indent, columns int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		length := Width(word)
		switch {
		case i == 0:
			column = indent
		case column+1+length > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
