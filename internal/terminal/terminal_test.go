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
	p := NewPrinter(&b)
	p.columns = 40
	p.Line(Cell{"critical", Alarm}, Cell{Text: "  "}, Cell{"No server leads; 3 of 3 voters answer, quorum is 2.", Bold})
	p.Table("  ", [][]Cell{
		{{Text: ""}, {Text: "state"}, {Text: "reason"}},
		{{Text: "服务器"}, {Text: "up"}, {Text: ""}},
		{{Text: "server-1"}, {Text: "DOWN"}, {Text: "a reason that is too long for one line of forty columns"}},
		{{Text: "x\x1b[2J"}, {Text: "-"}, {Text: strings.Repeat("w", 50)}},
	})
	const want = `critical  No server leads; 3 of 3 voters
          answer, quorum is 2.
            state  reason
  服务器    up
  server-1  DOWN   a reason that is too
                   long for one line of
                   forty columns
  x\x1b[2J  -      wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww
`
	if got := b.String(); got != want || p.Err() != nil {
		t.Errorf("printed\n%s\nwant\n%s\nerror %v", got, want, p.Err())
	}
}

// full is a disk without room.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPrinter_Error(t *testing.T) {
	t.Parallel()
	p := NewPrinter(full{})
	p.Line(Cell{Text: "a"})
	p.Line(Cell{Text: "b"})
	if !errors.Is(p.Err(), errFull) {
		t.Errorf("error is %v; want %v", p.Err(), errFull)
	}
}
