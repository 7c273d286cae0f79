// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/alecthomas/kingpin/v2"
)

// maxTypos is how many letters may be wrong in a word for which another one is suggested.
const maxTypos = 3

// unknownWord matches kingpin's errors about a flag or a command that does not exist.
var unknownWord = regexp.MustCompile(
	`^unknown long flag '--(?:no-)?([^']+)'$|^unexpected (\S+)$|^expected command but got "(.+)"$`)

// explain adds to an error of kingpin's what helps to mend it: the flag and a good value if the value is bad, or the
// flag or command that was probably meant.
func explain(app *kingpin.Application, args []string, err error) error {
	if found := unknownWord.FindStringSubmatch(err.Error()); found != nil {
		if meant := closest(app, args, found[1], found[2]+found[3]); meant != "" {
			return fmt.Errorf("%w, did you mean %s?", err, meant)
		}
		return fmt.Errorf("%w, try --help", err)
	}
	if f, variable := badValue(app, args, err); f != nil {
		name := "--" + f.Name
		if variable {
			name = f.Envar
		}
		return fmt.Errorf("%s: %w%s", name, err, example(f, err))
	}
	return fmt.Errorf("%w, try --help", err)
}

// closest returns the flag or the command whose name is most like a word, with its dashes, or "" if none is like it.
func closest(app *kingpin.Application, args []string, flag, command string) string {
	best, distance := "", maxTypos+1
	consider := func(word, name, shown string) {
		if d := levenshtein.Distance(word, name, nil); d < distance && d < len(name)/2 {
			best, distance = shown, d
		}
	}
	if command != "" {
		for _, c := range app.Model().Commands {
			consider(command, c.Name, c.Name)
		}
		return best
	}
	for _, f := range append(app.Model().Flags, selected(app, args).Flags...) {
		if !f.Hidden {
			consider(flag, f.Name, "--"+f.Name)
		}
	}
	return best
}

// selected returns the command that args are for, of which another one may be a part.
func selected(app *kingpin.Application, args []string) *kingpin.CmdModel {
	name := commandServe
	if parsed, _ := app.ParseContext(args); parsed != nil && parsed.SelectedCommand != nil {
		name, _, _ = strings.Cut(parsed.SelectedCommand.FullCommand(), " ")
	}
	return app.GetCommand(name).Model()
}

// badValue returns the flag whose value was refused with the error, and whether it came from the flag's environment
// variable; nil if it was none.
func badValue(app *kingpin.Application, args []string, err error) (f *kingpin.FlagModel, variable bool) {
	refuses := func(f *kingpin.FlagModel, value string) bool {
		refusal := f.Value.Set(value)
		return refusal != nil && refusal.Error() == err.Error()
	}
	if parsed, _ := app.ParseContext(args); parsed != nil {
		for _, e := range parsed.Elements {
			clause, ok := e.Clause.(*kingpin.FlagClause)
			if ok && e.Value != nil && refuses(clause.Model(), *e.Value) {
				return clause.Model(), false
			}
		}
	}
	for _, f := range selected(app, args).Flags {
		if value := os.Getenv(f.Envar); value != "" && refuses(f, value) {
			return f, true
		}
	}
	return nil, false
}

// example is a good value of a flag, as the end of a message, unless the message has one.
func example(f *kingpin.FlagModel, err error) string {
	if usual := strings.Join(f.Default, ","); usual != "" && !strings.Contains(err.Error(), "want ") {
		return "; want for example " + usual
	}
	return ""
}
