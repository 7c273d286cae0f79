// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package terminal writes texts and tables for people, aligned whatever alphabet the names in them are of, and in
// colours where there is somebody to see them. Texts may come from anywhere: what could move the cursor or change the
// terminal is written as an escape sequence that can be read.
package terminal

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// The columns that texts may take: those of the terminal, if they are not too few or too many to read, or else
// defaultColumns.
const (
	minColumns, defaultColumns, maxColumns = 60, 100, 120
)

// gap is what is between two columns of a table.
const gap = "  "

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

// Printer writes to a terminal, or to a file in the same way but without colours. It keeps the first error, for Err.
type Printer struct {
	w       io.Writer
	colours bool
	columns int
	err     error
}

// NewPrinter returns a printer. There are colours if w is a terminal and nobody has asked for none
// (https://no-color.org).
func NewPrinter(w io.Writer) *Printer {
	p := &Printer{w: w, columns: defaultColumns}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if columns := terminalColumns(f); columns > 0 {
			p.columns = min(max(columns, minColumns), maxColumns)
		}
	}
	return p
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

// Table writes rows in columns, with an indent. The last column wraps, and continues below where it began.
func (p *Printer) Table(indent string, rows [][]Cell) {
	widths := columnWidths(rows)
	for _, row := range rows {
		column := Width(indent)
		var line strings.Builder
		line.WriteString(indent)
		for i, c := range row {
			text, padding := Clean(c.Text), ""
			if i == len(row)-1 {
				text = Wrap(text, column, p.columns)
			} else {
				padding = strings.Repeat(" ", widths[i]-Width(text)) + gap
				column += widths[i] + len(gap)
			}
			line.WriteString(p.styled(text, c.Style) + padding)
		}
		p.write(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// columnWidths returns the width of each column but the last ones of rows, which nothing follows.
func columnWidths(rows [][]Cell) []int {
	var widths []int
	for _, row := range rows {
		for i := range row[:max(len(row)-1, 0)] {
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
	if !p.colours || style == "" || text == "" {
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
