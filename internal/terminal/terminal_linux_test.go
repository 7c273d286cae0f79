// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// openTerminal returns both sides of a new pseudo terminal: what programs write to, and where that comes out.
func openTerminal(t *testing.T, columns uint16) (program, screen *os.File) {
	t.Helper()
	screen = must.Get(os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0))(t)
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	must.Do(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number := must.Get(unix.IoctlGetInt(fd, unix.TIOCGPTN))(t)
	program = must.Get(os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0))(t)
	t.Cleanup(func() { program.Close() })
	must.Do(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	return program, screen
}

// By default there are colors on a terminal only, and none if somebody wants none. Texts are as wide as the terminal.
func TestPrinter_Terminal(t *testing.T) {
	for _, tc := range []struct {
		name          string
		noColor, term string
		columns       uint16
		color         Color
		want          string
		wantColumns   int
	}{
		{"a terminal", "", "xterm", 72, ColorAuto, "\x1b[1;31mDOWN\x1b[0m  a\r\n", 72},
		{"a narrow terminal", "", "xterm", 20, ColorAuto, "\x1b[1;31mDOWN\x1b[0m  a\r\n", minColumns},
		{"a wide terminal", "", "xterm", 300, ColorAuto, "\x1b[1;31mDOWN\x1b[0m  a\r\n", maxColumns},
		{"a terminal that does not tell", "", "xterm", 0, ColorAuto, "\x1b[1;31mDOWN\x1b[0m  a\r\n", minColumns},
		{"NO_COLOR", "1", "xterm", 80, ColorAuto, "DOWN  a\r\n", 80},
		{"never", "", "xterm", 80, ColorNever, "DOWN  a\r\n", 80},
		{"always, against NO_COLOR", "1", "xterm", 80, ColorAlways, "\x1b[1;31mDOWN\x1b[0m  a\r\n", 80},
		{"a dumb terminal", "", "dumb", 80, ColorAuto, "DOWN  a\r\n", 80},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tc.noColor)
			t.Setenv("TERM", tc.term)
			program, screen := openTerminal(t, tc.columns)
			p := NewPrinter(program, tc.color, Narrow)
			p.Table("", [][]Cell{{{"DOWN", Alarm}, {Text: "a"}}})
			got, err := bufio.NewReader(screen).ReadString('\n')
			if err != nil || got != tc.want || p.columns != tc.wantColumns {
				t.Errorf("screen has %q (%v), in %d columns; want %q in %d", got, err, p.columns, tc.want, tc.wantColumns)
			}
		})
	}

	for color, want := range map[Color]string{
		ColorAuto: "DOWN\n", ColorNever: "DOWN\n", ColorAlways: "\x1b[1;31mDOWN\x1b[0m\n",
	} {
		t.Run("a pipe, "+string(color), func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			r, w, err := os.Pipe()
			must.Do(t, err)
			defer r.Close()
			NewPrinter(w, color, Narrow).Line(Cell{"DOWN", Alarm})
			w.Close()
			if got, err := bufio.NewReader(r).ReadString('\n'); err != nil || got != want {
				t.Errorf("pipe has %q (%v); want %q", got, err, want)
			}
		})
	}
}

// On a terminal, what is drawn takes the place of what was drawn before, as far as there is room. In the end the
// terminal is as it was before, with the last drawing below.
func TestPrinter_Redraw(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	program, screen := openTerminal(t, 80)
	p := NewPrinter(program, ColorAuto, Narrow)
	many := strings.Repeat("line\n", 24)
	for _, text := range []string{"first\nDOWN\n", many + "last\n", many} {
		p.Redraw(func() {
			for line := range strings.Lines(text) {
				p.Line(Cell{strings.TrimSpace(line), Alarm})
			}
		})
	}
	p.EndRedraw()
	must.Do(t, p.Err())
	red := func(text string) string { return "\x1b[1;31m" + text + "\x1b[0m" }
	line := red("line") + "\x1b[K\r\n"
	want := "\x1b[?1049h" +
		"\x1b[H" + red("first") + "\x1b[K\r\n" + red("DOWN") + "\x1b[K\x1b[J" +
		"\x1b[H" + strings.Repeat(line, 23) + "...\x1b[K\x1b[J" +
		"\x1b[H" + strings.Repeat(line, 23) + red("line") + "\x1b[K\x1b[J" +
		"\x1b[?1049l" + strings.Repeat(red("line")+"\r\n", 24)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(screen, got); err != nil || string(got) != want {
		t.Errorf("screen has (%v)\n%q\nwant\n%q", err, got, want)
	}
}
