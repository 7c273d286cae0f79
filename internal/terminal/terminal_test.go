// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"errors"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"plain", "server-1 hangs: 100 %", "server-1 hangs: 100 %"},
		{"other alphabets", "сервер 서버 服务器 sérvér 🚀", "сервер 서버 服务器 sérvér 🚀"},
		{"a colour", "a\x1b[31mb\x1b[0m", `a\x1b[31mb\x1b[0m`},
		{"the title of the window", "\x1b]0;owned\a", `\x1b]0;owned\a`},
		{"a control sequence in one character", "\u009b31m", `\u009b31m`},
		{"the other direction", "a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"invisible", "a\u200bb\u00a0c\ufeff", `a\u200bb\u00a0c\ufeff`},
		{"lines", "a\r\n\tb", `a\r\n\tb`},
		{"no UTF-8", "a\xff\xfeb", `a\xff\xfeb`},
		{"what stands for no UTF-8", "a\ufffdb", "a\ufffdb"},
	} {
		if got := Clean(tc.text); got != tc.want {
			t.Errorf("%s: got %q; want %q", tc.name, got, tc.want)
		}
	}
}

func TestWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 0, "server": 6, "сервер": 6, "服务器": 6, "서버": 4, "サーバー": 8, "ｻｰﾊﾞ": 4, "se\u0301rver": 6, "sérver": 6, "🚀": 2,
		"שרת": 3, "ａ": 2,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d columns; want %d", text, got, want)
		}
	}
}

func TestPrinter(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := NewPrinter(&b, ColorAuto, Narrow)
	p.columns = 50
	p.Line(Cell{"critical", Alarm}, Cell{Text: "  "}, Cell{"No server leads; 3 of 3 voters answer, quorum is 2.", Bold})
	p.Table("  ", [][]Cell{
		{{Text: "up"}, {Text: "a reason that is too long for one line of fifty columns"}},
		{{Text: "x\x1b[2J"}, {Text: strings.Repeat("w", 50)}},
		{{Text: "服务器"}, {Text: ""}},
	})
	p.Table("  ", [][]Cell{
		{{Text: "服务器"}, {Text: "up"}, {Text: ""}},
		{{Text: "server-1"}, {Text: "DOWN"}, {Text: "there is too little room for more than one word"}},
	})
	grid := make([][]Cell, 2)
	for i, text := range strings.Fields("- 8300 8301 8302 8500 8600 8601 8602 服务器 1 hangs 3 4 5 6 7") {
		grid[i/8] = append(grid[i/8], Cell{Text: text})
	}
	p.Grid("  ", grid)
	const want = `critical  No server leads; 3 of 3 voters answer,
          quorum is 2.
  up        a reason that is too long for one line
            of fifty columns
  x\x1b[2J  wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww
  服务器
  服务器    up
  server-1  DOWN
    there is too little room for more than one
    word
  -       8300  8301   8302  8500
  服务器  1     hangs  3     4

  -       8600  8601  8602
  服务器  5     6     7
`
	if got := b.String(); got != want || p.Err() != nil {
		t.Errorf("printed\n%s\nwant\n%s\nerror %v", got, want, p.Err())
	}
}

// Anywhere else than on a terminal, one drawing follows the other.
func TestPrinter_RedrawPipe(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := NewPrinter(&b, ColorAuto, Narrow)
	for _, text := range []string{"a", "b"} {
		p.Redraw(func() { p.Line(Cell{Text: text}) })
	}
	p.EndRedraw()
	if got := b.String(); got != "a\n\nb\n" {
		t.Errorf("printed %q; want one after the other", got)
	}
}

// A line that is longer than the terminal is wide takes more than one of its rows.
func TestFitting(t *testing.T) {
	t.Parallel()
	long := "\x1b[1m" + strings.Repeat("w", 11) + "\x1b[0m"
	for _, tc := range []struct {
		text          string
		columns, rows int
		want          string
	}{
		{"a\nb\n", 10, 2, "a b"},
		{"a\nb\nc\n", 10, 2, "a ..."},
		{long + "\nb\n", 11, 2, long + " b"},
		{long + "\nb\n", 10, 3, long + " b"},
		{long + "\nb\n", 10, 2, "..."},
		{"a\nb\nc\n", 0, 0, "a b c"},
	} {
		if got := strings.Join(fitting(tc.text, tc.columns, tc.rows), " "); got != tc.want {
			t.Errorf("of %q %d by %d has %q; want %q", tc.text, tc.columns, tc.rows, got, tc.want)
		}
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPrinter_Error(t *testing.T) {
	t.Parallel()
	p := NewPrinter(full{}, ColorAuto, Narrow)
	p.Line(Cell{Text: "a"})
	p.Line(Cell{Text: "b"})
	if !errors.Is(p.Err(), errFull) {
		t.Errorf("error is %v; want %v", p.Err(), errFull)
	}
}
