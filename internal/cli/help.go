// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

// everydayFlags are the flags of the exporter that most people need, in the order in which the help shows them.
var everydayFlags = []string{
	"consul.server", "consul.token-file", "consul.ca-file", "consul.cert-file", "consul.key-file",
	"serf.encrypt-key-file", "state.file", "web.listen-address",
}

// flagGroup is a group of flags in the long help: those whose names begin with one of the prefixes. A flag is in the
// group with the longest prefix that it fits.
type flagGroup struct {
	title    string
	prefixes []string
}

var flagGroups = []flagGroup{
	{"Connection to Consul", []string{"consul."}},
	{"TLS", []string{
		"consul.ca-", "consul.cert-", "consul.key-", "consul.server-name", "consul.insecure", "rpc.",
	}},
	{"Probes", []string{"probe.", "serf.", "dns."}},
	{"Memory of the cluster's servers", []string{"state.", "cluster."}},
	{"Collectors", []string{"collector.", "consul.agent-only", "consul.health-summary", "kv.", "meta."}},
	{"Web", []string{"web.", "responder."}},
	{"Log and configuration file", []string{"log.", "config."}},
}

// helpText is what --help prints without a command, and helpAllText what --help-all prints. The functions are in
// helpFuncs; the rest is kingpin's.
const (
	helpText = `usage: {{.App.Name}} [<flags>] [<command>]

{{.App.Help|Wrap 0}}
Commands; "{{.App.Name}} <command> --help" has more about each:
{{.App|CommandTable|FormatTwoColumns}}
Flags most used; --help-all has all of them:
{{.App|EverydayFlags|FormatTwoColumns}}
Examples:
  {{.App.Name}} --consul.server=https://consul-1.example:8501 --consul.ca-file=ca.pem --consul.token-file=token
  {{.App.Name}} check --safe-to-stop=server-2
`
	// variablesText is the rule about variables, once.
	variablesText = `Each flag can also be set by an environment variable, which is called
CONSUL_CLUSTER_EXPORTER_LOG_LEVEL for --log.level.
`
	helpAllText = `usage: {{.App.Name}} [<flags>]

` + variablesText + `{{range .App|GroupedFlags}}
{{.Title}}:
{{.Flags|FormatTwoColumns}}{{end}}`
)

// usageTemplate is kingpin's own for a command, without the environment variable of each flag, and helpText without
// one.
var usageTemplate = strings.NewReplacer(
	"{{if .Context.SelectedCommand -}}\nusage:",
	"{{if not .Context.SelectedCommand}}"+helpText+"{{else -}}\n{{if .Context.SelectedCommand -}}\nusage:",
	"{{.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}",
	"{{.Context.Flags|FlagTable|FormatTwoColumns}}\n"+variablesText+"\n",
).Replace(kingpin.DefaultUsageTemplate) + "{{end}}"

// helpFuncs are the functions of the templates above. Tables are rows of a name and a text.
var helpFuncs = map[string]any{
	"CommandTable": func(app *kingpin.ApplicationModel) (rows [][2]string) {
		for _, c := range app.Commands {
			if !c.Hidden && c.Name != "help" {
				rows = append(rows, [2]string{c.Name, firstSentence(c.Help)})
			}
		}
		return rows
	},
	"EverydayFlags": func(app *kingpin.ApplicationModel) (rows [][2]string) {
		for _, name := range everydayFlags {
			rows = append(rows, flagRow(serveFlag(app, name), firstSentence))
		}
		return rows
	},
	"FlagTable": func(flags []*kingpin.FlagModel) (rows [][2]string) {
		for _, f := range flags {
			if !f.Hidden {
				rows = append(rows, flagRow(f, unshortened))
			}
		}
		return rows
	},
	"GroupedFlags": func(app *kingpin.ApplicationModel) []groupTable {
		groups := make([]groupTable, len(flagGroups))
		for i, g := range flagGroups {
			groups[i].Title = g.title
		}
		for _, f := range serveModel(app).Flags {
			if i := groupOf(f.Name); i >= 0 {
				groups[i].Flags = append(groups[i].Flags, flagRow(f, unshortened))
			}
		}
		return groups
	},
}

// groupTable is a group of flags as the template shows it.
type groupTable struct {
	Title string
	Flags [][2]string
}

// groupOf returns the index of the group that a flag is in, or -1.
func groupOf(flag string) int {
	group, longest := -1, 0
	for i, g := range flagGroups {
		for _, p := range g.prefixes {
			if strings.HasPrefix(flag, p) && len(p) > longest {
				group, longest = i, len(p)
			}
		}
	}
	return group
}

func serveModel(app *kingpin.ApplicationModel) *kingpin.CmdModel {
	i := slices.IndexFunc(app.Commands, func(c *kingpin.CmdModel) bool { return c.Name == commandServe })
	return app.Commands[i]
}

func serveFlag(app *kingpin.ApplicationModel, name string) *kingpin.FlagModel {
	flags := serveModel(app).Flags
	return flags[slices.IndexFunc(flags, func(f *kingpin.FlagModel) bool { return f.Name == name })]
}

// flagRow is a flag with its value, and its help, shortened.
func flagRow(f *kingpin.FlagModel, shorten func(string) string) [2]string {
	name := "--" + f.Name
	if f.IsBoolFlag() {
		name = "--[no-]" + f.Name
	} else {
		name += "=" + f.FormatPlaceHolder()
	}
	if list, ok := f.Value.(interface{ IsCumulative() bool }); ok && list.IsCumulative() {
		name += " ..."
	}
	return [2]string{name, shorten(f.Help)}
}

func unshortened(help string) string { return help }

// firstSentence returns the first sentence of a help text, or what comes before a semicolon in it.
func firstSentence(help string) string {
	sentence, _, _ := strings.Cut(help, ". ")
	sentence, _, _ = strings.Cut(sentence, "; ")
	return strings.TrimSuffix(sentence, ".") + "."
}

// showHelpAll prints the long help.
func showHelpAll(app *kingpin.Application, args []string) error {
	parsed, err := app.ParseContext(args)
	if err != nil {
		return err
	}
	return app.UsageForContextWithTemplate(parsed, 2, helpAllText)
}

// versionText is the version and what it was built from, as far as that is known.
func versionText() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, version %s", Name, version.Version)
	for _, l := range [][2]string{
		{"revision", version.GetRevision()},
		{"branch", version.Branch},
		{"built by", version.BuildUser},
		{"built on", version.BuildDate},
		{"Go", runtime.Version()},
		{"platform", runtime.GOOS + "/" + runtime.GOARCH},
		{"tags", version.GetTags()},
	} {
		if value := l[1]; value != "" && value != "unknown" {
			fmt.Fprintf(&text, "\n  %-9s %s", l[0]+":", value)
		}
	}
	return text.String()
}
