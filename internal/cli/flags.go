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
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// options are the command and the flags as they were given.
type options struct {
	command     string
	helpAll     bool
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
		return errors.New("the two contradict each other; want one of them")
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
	commandVersion     = "version"
)

// App is the command line as it is declared, for what describes it.
func App() *kingpin.Application { return newApp(&options{}) }

// newApp declares all commands and flags. Each flag can be set by an environment variable with the prefix
// CONSUL_CLUSTER_EXPORTER_, or CONSUL_RESPONDER_ for the responder.
func newApp(opts *options) *kingpin.Application {
	app := kingpin.New(Name, "Prometheus exporter for HashiCorp Consul clusters: asks every server on its own ports.")
	app.HelpFlag.Short('h').Help("Show this help.")
	app.Flag("help-all", "Show all flags of the exporter, in groups.").BoolVar(&opts.helpAll)
	app.Version(versionText())
	app.DefaultEnvars()
	app.UsageTemplate(usageTemplate)
	app.UsageFuncs(helpFuncs)
	defer nameValues(app) // When it has all flags.
	opts.module = config.DefaultModule()
	serveFlags(app.Command(commandServe, "Run the exporter. This is what happens without a command.").Default(), opts)
	checkFlags(app.Command(commandCheck,
		"Look once, and say how the cluster is or whether a server can be stopped. The exit code says so, too."), opts)
	alertsFlags(app.Command(commandAlerts, "Write rules and alerts for Prometheus. Thresholds are flags."), &opts.alerts)
	dashboardsFlags(app.Command(commandDashboards, "Write dashboards for Grafana."), &opts.dashboards)
	responderFlags(app.Command(commandResponder,
		"Let chosen alerts trigger chosen actions on Consul. It acts only when the quorum can afford it, and is a process "+
			"of its own, with a token that may write."), opts)
	healthcheckFlags(app.Command(commandHealthcheck,
		"Ask a running exporter whether it is healthy. The exit code says so; for images without a shell."),
		&opts.healthcheck)
	forgetFlags(app.Command(commandForget,
		"Have the exporter stop missing a server. For one that is gone for good and was not replaced."), &opts.memory)
	app.Command(commandVersion, "Show the version.")
	return app
}

// agentFlags declares the flags that say how to reach Consul and how to probe it. Those about the agent default to
// the variables of Consul's own CLI.
func agentFlags(app *kingpin.CmdClause, opts *options) {
	usual := defaultServer(app.FullCommand())
	server := app.Flag("consul.server",
		"Address of a Consul agent's HTTP API: a URL with http, https, or unix:///path, or host:port. Can be repeated, or "+
			"separated by commas: the first agent that answers usefully is used. Also "+
			variableFor(app.FullCommand(), "CONSUL_HTTP_ADDR")+".").
		Default(usual)
	server.SetValue((*commaList)(&opts.consulServers))
	if shown := redact.Text(usual); shown != usual {
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
	variable, negated := strings.CutSuffix(variableFor(app.FullCommand(), o.Env), "=false")
	usual := cmp.Or(os.Getenv(variable), o.Default)
	if negated {
		value, err := strconv.ParseBool(os.Getenv(variable))
		usual = strconv.FormatBool(err == nil && !value)
	}
	flag := app.Flag(o.Flag, strings.ReplaceAll(o.Help, "CONSUL_", variableFor(app.FullCommand(), "CONSUL_")))
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
	app.Flag("consul.allow_stale", "Let any server answer for catalog, sessions, and KV, even without a leader.").
		Default("true").IsSetByUser(&opts.consistency.staleAsked).BoolVar(&opts.consistency.allowStale)
	app.Flag("consul.require_consistent",
		"Let only a confirmed leader answer for catalog, sessions, and KV. Not with --consul.allow_stale.").
		BoolVar(&opts.consistency.requireConsistent)
	moduleFlags(app, opts, true, "consul.", "kv.", "meta.")

	memoryFlags(app, &opts.memory)
	app.Flag("state.file",
		"File that keeps the exporter's memory of servers across restarts. Default: none.").
		StringVar(&opts.memory.stateFile)

	app.Flag("config.file", "File with modules for /probe; see docs/config.example.yml. Reloaded at SIGHUP.").
		StringVar(&opts.configFile)
	app.Flag("config.check", "Check the flags and the configuration file, say what is wrong with them, and exit.").
		BoolVar(&opts.configCheck)

	opts.web = kingpinflag.AddFlags(app, ":9107")
	app.Flag("web.telemetry-path", "Path of the metrics.").
		Default("/metrics").StringVar(&opts.handler.TelemetryPath)
	app.Flag("web.scrape-timeout-offset",
		"How long before Prometheus's scrape timeout to respond.").
		Default("500ms").DurationVar(&opts.handler.TimeoutOffset)
	app.Flag("web.max-requests",
		"Scrapes of Consul at the same time, for all clients and targets; 0 is no limit. Shared scrapes count once.").
		Default("200").IntVar(&opts.handler.MaxRequests)
	app.Flag("web.enable-pprof", "Serve profiles of the exporter at /debug/pprof/.").
		BoolVar(&opts.handler.EnablePprof)
	app.Flag("web.enable-lifecycle", "Let POST /-/reload reload the configuration file.").
		BoolVar(&opts.handler.EnableLifecycle)

	app.Flag("web.prometheus-url",
		"Address of Prometheus, such as http://localhost:9090, to which the status page has links. Default: none.").
		StringVar(&opts.handler.PrometheusURL)

	app.Flag("responder.url",
		"Responder whose latest decisions the status page shows, such as http://localhost:9108. Default: none.").
		StringVar(&opts.handler.Responder.URL)
	app.Flag("responder.secret-file",
		"File with the responder's secret.").
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

// responderVariables is the prefix of the environment variables of the responder. It shares none with the exporter,
// which must not have its token, so that one file of variables can be for both.
const responderVariables = "CONSUL_RESPONDER_"

// variableFor returns the environment variable that stands in a command for one of Consul's CLI.
func variableFor(command, variable string) string {
	own, ok := strings.CutPrefix(variable, "CONSUL_")
	if ok && strings.HasPrefix(command, commandResponder) {
		return responderVariables + own
	}
	return variable
}

// nameVariables gives the flags of the responder variables of their own.
func nameVariables(cmd *kingpin.CmdClause) {
	for _, f := range cmd.Model().Flags {
		cmd.GetFlag(f.Name).Envar(responderVariables + flagVariable(f.Name))
	}
}

// flagVariable is what the name of a flag is in the names of variables.
func flagVariable(name string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}

// defaultServer is the address in the environment of Consul's CLI, or consul_exporter's default.
func defaultServer(command string) string {
	address := cmp.Or(os.Getenv(variableFor(command, "CONSUL_HTTP_ADDR")), "http://localhost:8500")
	if ssl, err := strconv.ParseBool(os.Getenv(variableFor(command, "CONSUL_HTTP_SSL"))); err == nil && ssl {
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
		code = usageCode(app, args)
		if code == ExitUnknown {
			stderr = stdout // Nagios shows nothing else.
		}
		complain(stderr, explain(app, args, err))
		return nil, code, true
	}
	if opts.helpAll && !done {
		if err := showHelpAll(app, args); err != nil {
			complain(stderr, err)
			return nil, 1, true
		}
		return nil, 0, true
	}
	if command := app.GetCommand(opts.command); command != nil {
		opts.handler.Flags = changedFlags(command)
	}
	return opts, code, done
}

// usageCode is the exit code after bad flags. That of the command check must not be one of its verdicts, but Nagios
// takes no others.
func usageCode(app *kingpin.Application, args []string) int {
	parsed, _ := app.ParseContext(args)
	switch {
	case parsed == nil || parsed.SelectedCommand == nil || parsed.SelectedCommand.FullCommand() != commandCheck:
		return 1
	case strings.Contains(strings.Join(args, "="), "--output="+outputNagios):
		return ExitUnknown
	default:
		return ExitUsage
	}
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
	{"exporter", "URL"},
	{"filter", "REGEXP"},
	{"protocols", "LIST"},
	{"prefix", "PREFIX"},
	{"selector", "MATCHERS"},
	{"disable", "ALERT"},
	{"severity", "ALERT=SEVERITY"},
	{"for", "ALERT=DURATION"},
	{"only", "PART"},
	{"safe-to-stop", "SERVER"},
	{"release", "SERVER"},
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
	"tls.ca_path":   "CONSUL_CAPATH",
	"tls.cert_file": "--consul.cert-file, --consul.key-file",
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
		problem := fmt.Errorf("%s: %s", flag, strings.TrimSpace(line))
		*ps = append(*ps, wording.WithExample(problem, exampleOf(flag)))
	}
}

// noteFile is for the file of --config.file. If it can be read, its errors name the file and the key.
func (ps *flagProblems) noteFile(path string, err error) {
	if err == nil || strings.HasPrefix(err.Error(), path+": ") {
		*ps = append(*ps, err)
		return
	}
	ps.note("--config.file", err)
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
	if address := o.handler.PrometheusURL; address != "" {
		problems.note("--web.prometheus-url", web.ValidatePrometheusURL(address))
	}
	problems.note("--web.config.file", validateWebConfig(*o.web.WebConfigFile))
	problems.note("--web.listen-address", validateListen(o.web))
	if len(module.Collectors) == 0 {
		problems.note("--collector.*", errors.New("all collectors are switched off; want for example --collector.raft"))
	}
	o.validateResponderToShow(&problems, logger)
	s.memory = o.memory.options(&problems, logger)
	if o.configFile != "" {
		var err error
		s.modules, err = config.Open(o.configFile, func(p config.Problem) { warn(p.Key, p.Err) })
		problems.noteFile(o.configFile, err)
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
	value := func(variable string) string { return os.Getenv(variableFor(o.command, variable)) }
	m.TLS.CAPath = value("CONSUL_CAPATH")
	m.Token = config.Secret(strings.TrimSpace(value("CONSUL_HTTP_TOKEN")))
	m.BasicAuth.UserPassword = config.Secret(value("CONSUL_HTTP_AUTH"))
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
