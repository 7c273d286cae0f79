// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// ourCommand finds a command line of the exporter, at the beginning of a command, with what comes after the name of the program.
var ourCommand = regexp.MustCompile(`(?:^|\$ |&& |; |sudo |exec |if |Exec[A-Za-z]+=-?)(?:[\w./-]*/)?` + cli.Name + `((?:\s+[^\n]*)?)$`)

// The command lines of the exporter in all documents are ones that it takes.
func TestDocsCommands(t *testing.T) {
	checked := 0
	for _, d := range documents(t) {
		for _, line := range append(d.CommandLines(), d.Spans...) {
			m := ourCommand.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			checked++
			args := shellWords(m[1])
			if len(args) == 1 && args[0] == "ends" { // Is a line of the log.
				continue
			}
			if err := checkCommand(args); err != nil {
				t.Errorf("%s: %s\n%v", d.Path, strings.TrimSpace(line), err)
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d command lines were found; there are more", checked)
	}
}

// checkCommand reports what the exporter has against these arguments, but for files that are not there.
func checkCommand(args []string) error {
	app := cli.App()
	app.UsageWriter(io.Discard)
	app.ErrorWriter(io.Discard)
	ended := false
	app.Terminate(func(int) { ended = true }) // After --help and --version.
	command, err := app.Parse(args)
	if ended || err != nil || command != "alerts" {
		return err
	}
	settings := make(map[string]string)
	for _, s := range alerts.Settings() {
		settings[s.Name] = app.GetCommand(command).GetFlag(s.Name).Model().Value.String()
	}
	_, err = alerts.Pack(settings)
	return err
}

// shellWords splits the arguments of a command as a shell would, up to the end of the command. What the shell would put in stays as it is.
func shellWords(line string) []string {
	var (
		words  []string
		word   strings.Builder
		quote  rune
		inWord bool
	)
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case strings.ContainsRune("|&;<>#)", r):
			end()
			return words
		case r == ' ' || r == '\t':
			end()
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	end()
	return words
}

func TestShellWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                                nil,
		" a  b=c ":                        {"a", "b=c"},
		`--x="$(hostname -s)" y && z`:     {"--x=$(hostname -s)", "y"},
		`'a "b"' "c|d" > e`:               {`a "b"`, "c|d"},
		`check --output=json | jq '.a'`:   {"check", "--output=json"},
		`"" end # What is said about it.`: {"", "end"},
	} {
		if got := shellWords(line); !slices.Equal(got, want) {
			t.Errorf("%s: got %q; want %q", line, got, want)
		}
	}
}

// flagSpan is a flag within a sentence; with an asterisk or a placeholder it stands for all that begin like it.
var flagSpan = regexp.MustCompile(`(?:^|\s)--(?:\[no-\]|no-)?([a-z][a-z0-9_.-]*)([*<A-Z]?)`)

// The flags that documents name are flags of the exporter.
func TestDocsFlags(t *testing.T) {
	flags := map[string]bool{"help": true, "help-long": true, "version": true}
	for _, command := range cli.App().Model().Commands {
		for _, f := range command.Flags {
			flags[f.Name] = true
		}
	}
	for _, d := range documents(t) {
		for _, span := range append(d.CommandLines(), d.Spans...) {
			span = strings.TrimPrefix(strings.TrimSpace(span), "- ") // As in the arguments of a container.
			if !strings.HasPrefix(span, "--") {                      // Is not about a flag, or about that of another program.
				continue
			}
			for _, m := range flagSpan.FindAllStringSubmatch(span, -1) {
				known := flags[m[1]]
				if m[2] != "" {
					for name := range flags {
						known = known || strings.HasPrefix(name, m[1])
					}
				}
				if !known {
					t.Errorf("%s: `%s`: there is no flag --%s", d.Path, span, m[1])
				}
			}
		}
	}
}

// makeCommand is a call of make at the beginning of a command.
var makeCommand = regexp.MustCompile(`(?:^|\$ |&& |; )make((?: +[a-z0-9-]+| +[A-Z]+=\S+)+)`)

// The targets that documents name are in the Makefile.
func TestDocsMake(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("Makefile")
	harness.Must(t, err)
	targets := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	checked := 0
	for _, d := range documents(t) {
		for _, line := range append(d.CommandLines(), d.Spans...) {
			for _, m := range makeCommand.FindAllStringSubmatch(line, -1) {
				for word := range strings.FieldsSeq(m[1]) {
					checked++
					if !strings.Contains(word, "=") && !targets[word] {
						t.Errorf("%s: %s: the Makefile has no target %s", d.Path, strings.TrimSpace(line), word)
					}
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("%d targets were found; there are more", checked)
	}
}
