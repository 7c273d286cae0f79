// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bufio"
	"fmt"
	"os"
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

// There are colours on a terminal only, and none if somebody wants none; and texts are as wide as the terminal.
func TestPrinter_Terminal(t *testing.T) {
	for _, tc := range []struct {
		name          string
		noColor, term string
		columns       uint16
		want          string
		wantColumns   int
	}{
		{"a terminal", "", "xterm", 72, "\x1b[1;31mDOWN\x1b[0m  a\r\n", 72},
		{"a narrow terminal", "", "xterm", 20, "\x1b[1;31mDOWN\x1b[0m  a\r\n", minColumns},
		{"a wide terminal", "", "xterm", 300, "\x1b[1;31mDOWN\x1b[0m  a\r\n", maxColumns},
		{"a terminal that does not tell", "", "xterm", 0, "\x1b[1;31mDOWN\x1b[0m  a\r\n", defaultColumns},
		{"NO_COLOR", "1", "xterm", 80, "DOWN  a\r\n", 80},
		{"a dumb terminal", "", "dumb", 80, "DOWN  a\r\n", 80},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tc.noColor)
			t.Setenv("TERM", tc.term)
			program, screen := openTerminal(t, tc.columns)
			p := NewPrinter(program)
			p.Table("", [][]Cell{{{"DOWN", Alarm}, {Text: "a"}}})
			got, err := bufio.NewReader(screen).ReadString('\n')
			if err != nil || got != tc.want || p.columns != tc.wantColumns {
				t.Errorf("screen has %q (%v), in %d columns; want %q in %d", got, err, p.columns, tc.want, tc.wantColumns)
			}
		})
	}

	t.Run("a pipe", func(t *testing.T) {
		t.Setenv("TERM", "xterm")
		r, w, err := os.Pipe()
		must.Do(t, err)
		defer r.Close()
		NewPrinter(w).Line(Cell{"DOWN", Alarm})
		w.Close()
		if got, err := bufio.NewReader(r).ReadString('\n'); err != nil || got != "DOWN\n" {
			t.Errorf("pipe has %q (%v); want no colours", got, err)
		}
	})
}
