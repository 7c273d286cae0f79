// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// options are the command and the flags as they were given.
type options struct {
	command     string
	alerts      alertsOptions
	check       checkOptions
	responder   responderOptions
	dashboards  string // The folder to write to.
	healthcheck string // The URL to ask.

	// consulServers are the addresses of agents, the preferred one first.
	consulServers []string
	// module is what most of the flags fill, as a configuration file fills its modules.
	module config.Module

	configFile  string
	configCheck bool

	web *toolkit.FlagConfig
	// handler is what the flags say about the pages; serve adds what is not known before.
	handler             web.Options
	memory              memoryOptions
	responderSecretFile string

	logLevel, logFormat string

	consistency consistencyFlags

	// collectors has a switch for each collector, by name.
	collectors map[string]*bool
}

// consistencyFlags are the two of consul_exporter that say one thing together.
type consistencyFlags struct {
	allowStale, requireConsistent bool
	// staleAsked is whether somebody wrote --consul.allow_stale, and did not only leave it at its default.
	staleAsked bool
}

// check reports when the two contradict each other.
func (f consistencyFlags) check() error {
	if f.requireConsistent && f.allowStale && f.staleAsked {
		return errors.New("the two contradict each other, leave out one of them")
	}
	return nil
}

// mode returns what the two say.
func (f consistencyFlags) mode() consul.Consistency {
	switch {
	case f.requireConsistent:
		return consul.ConsistencyConsistent
	case f.allowStale:
		return consul.ConsistencyStale
	default:
		return consul.ConsistencyDefault
	}
}

// The commands. Without one the exporter runs, as consul_exporter does.
const (
	commandServe       = "serve"
	commandCheck       = "check"
	commandAlerts      = "alerts"
	commandDashboards  = "dashboards"
	commandHealthcheck = "healthcheck"
	commandResponder   = "responder"
	commandForget      = "forget"
)

// App is the command line as it is declared, for what describes it.
func App() *kingpin.Application { return newApp(&options{}) }

// newApp declares all commands and flags. Each flag can be set by an environment variable with the prefix
// CONSUL_CLUSTER_EXPORTER_.
func newApp(opts *options) *kingpin.Application {
	app := kingpin.New(Name, "Prometheus exporter for HashiCorp Consul clusters: asks every server on its own ports.")
	app.HelpFlag.Short('h')
	app.Version(strings.TrimSpace(version.Print(Name)))
	app.DefaultEnvars()
	app.UsageTemplate(usageTemplate)
	defer nameValues(app) // When it has all flags.
	opts.module = config.DefaultModule()
	serveFlags(app.Command(commandServe, "Run the exporter. This is what happens without a command.").Default(), opts)
	checkFlags(app.Command(commandCheck,
		"Look once, print how the cluster is or whether a server can be stopped, and say so in the exit code."), opts)
	alertsFlags(app.Command(commandAlerts, "Write the rules and alerts for Prometheus, with your own thresholds."),
		&opts.alerts)
	dashboardsFlags(app.Command(commandDashboards, "Write the dashboards for Grafana."), &opts.dashboards)
	responderFlags(app.Command(commandResponder,
		"Let chosen alerts trigger chosen actions on Consul, when the quorum can afford it. A process of its own, with a "+
			"token that may write."), opts)
	healthcheckFlags(app.Command(commandHealthcheck,
		"Ask a running exporter whether it is healthy, for images without a shell, and say so in the exit code."),
		&opts.healthcheck)
	forgetFlags(app.Command(commandForget,
		"Have the exporter stop missing a server that is gone for good, such as one that was not replaced."), &opts.memory)
	return app
}

// usageTemplate is kingpin's own, but that it shows the flags of the default command also when no command is named.
var usageTemplate = strings.Replace(kingpin.DefaultUsageTemplate, "{{else if .App.Commands -}}",
	`{{else if .App.Commands -}}
{{range .App.Commands}}{{if .Default}}Flags of {{.Name}}, which is the default command:
{{.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{end}}{{end -}}`, 1)

// agentFlags declares the flags that say how to reach Consul and how to probe it. Those about the agent default to
// the variables of Consul's own CLI.
func agentFlags(app *kingpin.CmdClause, opts *options) {
	server := app.Flag("consul.server",
		"Address of the HTTP API of a Consul agent: a URL with http, https or unix:///path, or host:port. Can be repeated, "+
			"or be a list with commas: the first agent that answers usefully is used. All share the other flags. Default also "+
			"from CONSUL_HTTP_ADDR.").
		Default(defaultServer())
	server.SetValue((*commaList)(&opts.consulServers))
	if shown := redact.Text(defaultServer()); shown != defaultServer() {
		server.PlaceHolder(shown) // The help has the default.
	}
	moduleFlags(app, opts, false, "")
}

// moduleFlags declares the flags that fill the module and begin with a prefix, one prefix after the other: either
// those of the exporter only, or those of every command that queries Consul.
func moduleFlags(app *kingpin.CmdClause, opts *options, serveOnly bool, prefixes ...string) {
	for _, prefix := range prefixes {
		for _, o := range opts.module.Options() {
			if o.Flag != "-" && o.ServeOnly == serveOnly && strings.HasPrefix(o.Flag, prefix) {
				moduleFlag(app, &o)
			}
		}
	}
}

func moduleFlag(app *kingpin.CmdClause, o *config.Option) {
	variable, negated := strings.CutSuffix(o.Env, "=false")
	usual := cmp.Or(os.Getenv(variable), o.Default)
	if negated {
		value, err := strconv.ParseBool(os.Getenv(variable))
		usual = strconv.FormatBool(err == nil && !value)
	}
	flag := app.Flag(o.Flag, o.Help)
	if usual != "" {
		flag.Default(usual)
	}
	switch v := o.Value.(type) {
	case *string:
		flag.StringVar(v)
	case *bool:
		flag.BoolVar(v)
	case *int:
		flag.IntVar(v)
	case *time.Duration:
		flag.DurationVar(v)
	case *[]string:
		flag.SetValue((*commaList)(v))
	default:
		flag.SetValue(v.(kingpin.Value))
	}
}

// serveFlags declares the flags of the exporter. Those that consul_exporter has mean the same.
func serveFlags(app *kingpin.CmdClause, opts *options) {
	agentFlags(app, opts)
	app.Flag("consul.allow_stale", "Let any server answer for catalog, sessions and KV, also without a leader.").
		Default("true").IsSetByUser(&opts.consistency.staleAsked).BoolVar(&opts.consistency.allowStale)
	app.Flag("consul.require_consistent",
		"Have the leader answer for catalog, sessions and KV, after it has made sure that it is the leader. Contradicts "+
			"--consul.allow_stale.").
		BoolVar(&opts.consistency.requireConsistent)
	moduleFlags(app, opts, true, "consul.", "kv.", "meta.")

	memoryFlags(app, &opts.memory)
	app.Flag("state.file",
		"File that keeps what is remembered of the cluster's servers across restarts. Default: none.").
		StringVar(&opts.memory.stateFile)

	app.Flag("config.file", "File with modules for /probe; see docs/config.example.yml. Read again at SIGHUP.").
		StringVar(&opts.configFile)
	app.Flag("config.check", "Check the flags and the configuration file, say what is wrong with them, and exit.").
		BoolVar(&opts.configCheck)

	opts.web = kingpinflag.AddFlags(app, ":9107")
	app.Flag("web.telemetry-path", "Path of the metrics.").
		Default("/metrics").StringVar(&opts.handler.TelemetryPath)
	app.Flag("web.scrape-timeout-offset",
		"What to take off the time that Prometheus grants a scrape, for the way there and back.").
		Default("500ms").DurationVar(&opts.handler.TimeoutOffset)
	app.Flag("web.max-requests",
		"How many scrapes of Consul may be under way at one time, for all clients and targets together; 0 means any number. "+
			"Requests that share a scrape count as one.").
		Default("200").IntVar(&opts.handler.MaxRequests)
	app.Flag("web.enable-pprof", "Serve profiles of the exporter at /debug/pprof/.").
		BoolVar(&opts.handler.EnablePprof)
	app.Flag("web.enable-lifecycle", "Let POST /-/reload read the configuration file again.").
		BoolVar(&opts.handler.EnableLifecycle)

	app.Flag("responder.url",
		"Address of a running responder, such as http://localhost:9108, whose latest decisions the status page shows. "+
			"Default: none.").
		StringVar(&opts.handler.Responder.URL)
	app.Flag("responder.secret-file",
		"File with the secret that the responder wants to know; read again when it changes.").
		StringVar(&opts.responderSecretFile)

	logFlags(app, opts)

	opts.collectors = make(map[string]*bool)
	for _, c := range collector.All() {
		opts.collectors[c.Name] = app.Flag("collector."+c.Name, fmt.Sprintf("Collect %s.", c.Help)).
			Default(strconv.FormatBool(c.Enabled)).Bool()
	}
	moduleFlags(app, opts, true, "collector.")
}

// logFlags declares the flags about the log.
func logFlags(app *kingpin.CmdClause, opts *options) {
	app.Flag("log.level", "Lowest level that is logged: debug, info, warn or error.").
		Default("info").EnumVar(&opts.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of the log: logfmt or json.").
		Default("logfmt").EnumVar(&opts.logFormat, "logfmt", "json")
}

// commaList is a flag that can be given several times, and with several words at a time.
type commaList []string

func (l *commaList) String() string { return strings.Join(*l, ",") }

// Set adds the words of one flag.
func (l *commaList) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		*l = append(*l, strings.TrimSpace(word))
	}
	return nil
}

// IsCumulative is how kingpin knows that the flag is repeatable.
func (*commaList) IsCumulative() bool { return true }

// defaultServer is the address in the environment of Consul's CLI, or consul_exporter's default.
func defaultServer() string {
	address := cmp.Or(os.Getenv("CONSUL_HTTP_ADDR"), "http://localhost:8500")
	if ssl, err := strconv.ParseBool(os.Getenv("CONSUL_HTTP_SSL")); err == nil && ssl {
		address = "https://" + strings.TrimPrefix(address, "http://")
	}
	return address
}

// parse reads the flags. When it is done, nothing but exiting with the code is left to do.
func parse(args []string, stdout, stderr io.Writer) (opts *options, code int, done bool) {
	opts = &options{}
	app := newApp(opts)
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	app.Terminate(func(c int) { // After --help and --version.
		if !done {
			code, done = c, true
		}
	})
	var err error
	opts.command, err = app.Parse(args)
	if err != nil && !done {
		complain(stderr, fmt.Errorf("%w, try --help", err))
		return nil, usageCode(app, args), true
	}
	if command := app.GetCommand(opts.command); command != nil {
		opts.handler.Flags = changedFlags(command)
	}
	return opts, code, done
}

// usageCode is the exit code after bad flags. That of the command check must not be one of its verdicts.
func usageCode(app *kingpin.Application, args []string) int {
	if parsed, _ := app.ParseContext(args); parsed != nil && parsed.SelectedCommand != nil &&
		parsed.SelectedCommand.FullCommand() == commandCheck {
		return ExitUsage
	}
	return 1
}

// changedFlags returns the flags of a command that differ from their defaults. There are no secrets among them:
// tokens and keys come from files.
func changedFlags(command *kingpin.CmdClause) []web.Flag {
	var changed []web.Flag
	for _, f := range command.Model().Flags {
		value, usual := f.Value.String(), strings.Join(f.Default, ",")
		if f.IsBoolFlag() {
			usual = cmp.Or(usual, "false")
		}
		if list, ok := f.Value.(interface{ Get() any }); ok {
			if values, ok := list.Get().([]string); ok {
				value = strings.Join(values, ",")
			}
		}
		if value != usual {
			changed = append(changed, web.Flag{Name: f.Name, Value: value})
		}
	}
	return changed
}

// valueNames are what the help calls the values of flags that have no default, by the end of the flag's name.
var valueNames = []struct{ suffix, name string }{
	{"file", "FILE"},
	{"output-dir", "FOLDER"},
	{"url", "URL"},
	{"filter", "REGEXP"},
	{"protocols", "LIST"},
	{"prefix", "PREFIX"},
	{"selector", "MATCHERS"},
	{"disable", "ALERT"},
	{"severity", "ALERT=SEVERITY"},
	{"for", "ALERT=DURATION"},
	{"label", "LABEL=VALUE"},
	{"", "NAME"},
}

// nameValues gives the values of all flags those names. Of its own kingpin repeats the flag's name in capitals.
func nameValues(app *kingpin.Application) {
	for _, command := range app.Model().Commands {
		for _, f := range command.Flags {
			if f.IsBoolFlag() || strings.Join(f.Default, "") != "" {
				continue
			}
			i := slices.IndexFunc(valueNames,
				func(v struct{ suffix, name string }) bool { return strings.HasSuffix(f.Name, v.suffix) })
			app.GetCommand(command.Name).GetFlag(f.Name).PlaceHolder(valueNames[i].name)
		}
	}
}

// complain prints one line for each error that err joins. Some quote what was written, and kingpin's do so even where
// a flag's name is misspelled.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(redact.Text(err.Error())) {
		fmt.Fprintf(w, "%s: error: %s\n", Name, strings.TrimSpace(line))
	}
}

// validOptions are the options after validation: what can only come from good flags and readable files.
type validOptions struct {
	addresses []consul.Address
	module    *config.ValidModule
	// modules is nil without a configuration file.
	modules *config.File
	memory  memory.Options
}

// jointFlags are the flags to name in a problem with a key of config.Module that several flags fill together.
var jointFlags = map[string]string{
	"tls":           tlsFlags,
	"tls.ca_file":   tlsFlags,
	"tls.ca_path":   tlsFlags,
	"tls.cert_file": tlsFlags,
	"basic_auth":    "CONSUL_HTTP_AUTH",
	"rpc":           "--rpc.ca-file, --rpc.cert-file, --rpc.key-file",
	"rpc.cert_file": "--rpc.cert-file, --rpc.key-file",
}

const tlsFlags = "--consul.ca-file, --consul.cert-file, --consul.key-file"

// flagsOf returns the flags that fill a key of config.Module, or the key if there is none.
func flagsOf(key string) string {
	if flags, ok := jointFlags[key]; ok {
		return flags
	}
	for _, o := range new(config.Module).Options() {
		if o.Key == key && o.Flag != "-" {
			return "--" + o.Flag
		}
	}
	return key
}

// flagProblems gathers what is wrong with flags, one problem in a line.
type flagProblems []error

func (ps *flagProblems) note(flag string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		*ps = append(*ps, fmt.Errorf("%s: %s", flag, strings.TrimSpace(line)))
	}
}

// validate checks all options of the exporter. The error has all problems, one in a line, each with its flag.
func (o *options) validate(logger log.Logger) (*validOptions, error) {
	var problems flagProblems
	warn := func(where string, err error) { warnUnreadable(logger, where, err) }
	module := o.filledModule()
	s := o.validateAgent(module, &problems, func(p config.Problem) { warn(flagsOf(p.Key), p.Err) })
	problems.note("--consul.allow_stale, --consul.require_consistent", o.consistency.check())
	if offset := o.handler.TimeoutOffset; offset < 0 {
		problems.note("--web.scrape-timeout-offset", fmt.Errorf("%s is less than 0", offset))
	}
	if n := o.handler.MaxRequests; n < 0 {
		problems.note("--web.max-requests", fmt.Errorf("%d is less than 0", n))
	}
	problems.note("--web.telemetry-path", web.ValidateTelemetryPath(o.handler.TelemetryPath))
	problems.note("--web.config.file", validateWebConfig(*o.web.WebConfigFile))
	if len(module.Collectors) == 0 {
		problems.note("--collector.*", errors.New("all collectors are switched off"))
	}
	o.validateResponderToShow(&problems, logger)
	s.memory = o.memory.options(&problems, logger)
	if o.configFile != "" {
		var err error
		s.modules, err = config.Open(o.configFile, func(p config.Problem) { warn(p.Key, p.Err) })
		problems = append(problems, err) // Names the file itself.
	}
	return s, errors.Join(problems...)
}

// validateResponderToShow checks the flags about the responder that the status page asks, and opens its secret.
func (o *options) validateResponderToShow(problems *flagProblems, logger log.Logger) {
	r := &o.handler.Responder
	if r.URL != "" {
		problems.note("--responder.url", web.ValidateResponderURL(r.URL))
	}
	if o.responderSecretFile != "" {
		warn := func(err error) { warnUnreadable(logger, "--responder.secret-file", err) }
		secret, err := consul.NewTokenFile(o.responderSecretFile, warn)
		if problems.note("--responder.secret-file", err); err == nil {
			r.Secret = secret.Token
		}
	}
}

// warnUnreadable logs that a file cannot be read again.
func warnUnreadable(logger log.Logger, where string, err error) {
	level.Warn(logger).Log("msg", "file cannot be read again, what it held stays in use", "for", where, "err", err)
}

// validateAgent checks what the flags of agentFlags, and others that fill a module, say.
func (o *options) validateAgent(module config.Module, problems *flagProblems, warn func(config.Problem)) *validOptions {
	addresses, err := consul.ParseAddresses(o.consulServers)
	problems.note("--consul.server", err)
	valid, wrong := module.Validate(warn)
	for _, p := range wrong {
		problems.note(flagsOf(p.Key), p.Err)
	}
	return &validOptions{addresses: addresses, module: valid}
}

// cluster is what to make the cluster from.
func (o *validOptions) cluster() cluster.Options {
	opts := o.module.Options(o.addresses[0])
	opts.OtherAgents = o.addresses[1:]
	return opts
}

// agentModule returns the module that the flags of agentFlags and the environment fill together.
func (o *options) agentModule() config.Module {
	m := o.module
	m.TLS.CAPath = os.Getenv("CONSUL_CAPATH")
	m.Token = config.Secret(strings.TrimSpace(os.Getenv("CONSUL_HTTP_TOKEN")))
	m.BasicAuth.UserPassword = config.Secret(os.Getenv("CONSUL_HTTP_AUTH"))
	return m
}

// filledModule returns the module that all flags of the exporter and the environment fill together.
func (o *options) filledModule() config.Module {
	m := o.agentModule()
	m.Consistency = string(o.consistency.mode())
	for _, c := range collector.All() {
		if *o.collectors[c.Name] {
			m.Collectors = append(m.Collectors, c.Name)
		}
	}
	return m
}
