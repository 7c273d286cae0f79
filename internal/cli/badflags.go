// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// maxTypos is how many letters may be wrong in a word for which another one is suggested.
const maxTypos = 3

// unknownWord matches kingpin's errors about a flag or a command that does not exist.
var unknownWord = regexp.MustCompile(
	`^unknown long flag '--(?:no-)?([^']+)'$|^unexpected (\S+)$|^expected command but got "(.+)"$`)

// explain adds to an error of kingpin's what helps to mend it: the flag and a good value if the value is bad, or the
// flag or command that was probably meant.
func explain(app *kingpin.Application, args []string, err error) error {
	if name, value := switchWithValue(app, args, err); name != "" {
		return fmt.Errorf("--%s takes no value such as %q; want --%[1]s or --no-%[1]s", name, value)
	}
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
		return fmt.Errorf("%s: %w", name, wording.WithExample(inWords(err), exampleOf(f.Name)))
	}
	if found := missingFlag.FindStringSubmatch(err.Error()); found != nil {
		return fmt.Errorf("--%s is missing; want for example --%[1]s=%[2]s", found[1], exampleOf(found[1]))
	}
	return fmt.Errorf("%w, try --help", err)
}

// missingFlag matches kingpin's error about flags that there must be.
var missingFlag = regexp.MustCompile(`^required flag\(s\) '--([^']+)'`)

// inWords says for users what kingpin and the libraries that it uses say for programmers.
func inWords(err error) error {
	for _, w := range []struct {
		said *regexp.Regexp
		say  string
	}{
		{regexp.MustCompile(`^strconv\.Parse\w+: parsing ("(?s:.*)"): .*$`), "$1 is not a number"},
		{regexp.MustCompile(`^time: .* duration ("(?s:.*)")$`), "$1 is not a duration"},
		{regexp.MustCompile(`^enum value must be one of (.*), got '((?s).*)'$`), `"$2" is unknown; want one of: $1`},
	} {
		if text := err.Error(); w.said.MatchString(text) {
			return errors.New(w.said.ReplaceAllString(text, w.say))
		}
	}
	return err
}

// switchWithValue returns a flag that is only on or off and was given a value, which kingpin takes for a word of its
// own.
func switchWithValue(app *kingpin.Application, args []string, err error) (name, value string) {
	for _, arg := range args {
		name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !ok || err.Error() != "unexpected "+value {
			continue
		}
		for _, f := range selected(app, args).Flags {
			if f.Name == name && f.IsBoolFlag() {
				return name, value
			}
		}
	}
	return "", ""
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

// examples are good values of flags that have no default, or one that is no example. config.Module has those of others.
var examples = map[string]string{
	"cluster.dismissed-file":  "a file with the node ID of a server in each line",
	"cluster.expected-voters": "3",
	"config.file":             "docs/config.example.yml (docs/responder.example.yml for the responder)",
	"output-dir":              "dashboards",
	"exporter.ca-file":        "--exporter=https://localhost:9107 --exporter.ca-file=ca.pem",
	"reserve":                 "--safe-to-stop=server-1 --reserve",
	"reserve.token-file":      "a file with the SecretID that consul acl token create prints",
	"release":                 "server-1",
	"responder.secret-file":   "a file with one word of 16 letters or more",
	"safe-to-stop":            "--safe-to-stop=server-1",
	"state.file":              "/var/lib/consul_cluster_exporter/state",
	"web.config.file":         "web.yml with basic_auth_users or tls_server_config",
	"wait":                    "--safe-to-stop=server-1 --wait=5m",
}

// exampleOf is a good value of the first of these flags, or empty if there is none.
func exampleOf(flags string) string {
	flag, _, _ := strings.Cut(strings.TrimPrefix(flags, "--"), ", ")
	if value := examples[flag]; value != "" {
		return value
	}
	for _, o := range new(config.Module).Options() {
		if o.Flag == flag {
			return strings.Trim(o.Example, "[]") // A list has brackets only in a file.
		}
	}
	for _, command := range App().Model().Commands {
		for _, f := range command.Flags {
			if usual := strings.Join(f.Default, ","); f.Name == flag && usual != "" {
				return usual
			}
		}
	}
	return ""
}
