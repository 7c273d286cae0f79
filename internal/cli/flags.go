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
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// options are the command and the flags as they were given.
type options struct {
	command string
	// changed are the flags that differ from their defaults.
	changed     []web.Flag
	alerts      alertsOptions
	check       checkOptions
	dashboards  dashboardsOptions
	healthcheck healthcheckOptions
	responder   responderOptions

	consulServer string
	// module is what most of the flags fill, as a configuration file fills its modules.
	module config.Module

	configFile  string
	configCheck bool

	responderURL, responderSecretFile string

	web             *toolkit.FlagConfig
	telemetryPath   string
	timeoutOffset   time.Duration
	maxRequests     int
	enablePprof     bool
	enableLifecycle bool

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
func (f consistencyFlags) mode() cluster.Consistency {
	switch {
	case f.requireConsistent:
		return cluster.ConsistencyConsistent
	case f.allowStale:
		return cluster.ConsistencyStale
	default:
		return cluster.ConsistencyDefault
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
	checkFlags(app.Command(commandCheck, "Look once, print how the cluster is or whether a server can be stopped, and say so in the exit code."), opts)
	alertsFlags(app.Command(commandAlerts, "Write the rules and alerts for Prometheus, with your own thresholds."), &opts.alerts)
	dashboardsFlags(app.Command(commandDashboards, "Write the dashboards for Grafana."), &opts.dashboards)
	responderFlags(app.Command(commandResponder, "Let chosen alerts trigger chosen actions on Consul, when the quorum can afford it. A process of its own, with a token that may write."), opts)
	healthcheckFlags(app.Command(commandHealthcheck, "Ask a running exporter whether it is healthy, for images without a shell, and say so in the exit code."), &opts.healthcheck)
	return app
}

// usageTemplate is kingpin's own, but that it shows the flags of the default command also when no command is named.
var usageTemplate = strings.Replace(kingpin.DefaultUsageTemplate, "{{else if .App.Commands -}}", `{{else if .App.Commands -}}
{{range .App.Commands}}{{if .Default}}Flags of {{.Name}}, which is the default command:
{{.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{end}}{{end -}}`, 1)

// agentFlags declares the flags that say how to reach Consul and how to probe it. Those about the agent default to the variables of
// Consul's own CLI.
func agentFlags(app *kingpin.CmdClause, opts *options) {
	m := &opts.module
	server := app.Flag("consul.server", "Address of the HTTP API of a Consul agent: a URL with http, https or unix:///path, or host:port. Default also from CONSUL_HTTP_ADDR.").
		Default(defaultServer())
	server.StringVar(&opts.consulServer)
	if shown := redact.Text(defaultServer()); shown != defaultServer() {
		server.PlaceHolder(shown) // The help has the default.
	}
	app.Flag("consul.ca-file", "PEM file of the authorities that may have signed the agent's certificate; read again when it changes. Default also from CONSUL_CACERT.").
		Default(os.Getenv("CONSUL_CACERT")).StringVar(&m.TLS.CAFile)
	app.Flag("consul.cert-file", "PEM file of the client certificate to show the agent; read again when it changes. Default also from CONSUL_CLIENT_CERT.").
		Default(os.Getenv("CONSUL_CLIENT_CERT")).StringVar(&m.TLS.CertFile)
	app.Flag("consul.key-file", "PEM file of the client certificate's key. Default also from CONSUL_CLIENT_KEY.").
		Default(os.Getenv("CONSUL_CLIENT_KEY")).StringVar(&m.TLS.KeyFile)
	app.Flag("consul.server-name", "Name to expect in the agent's certificate instead of its host. Default also from CONSUL_TLS_SERVER_NAME.").
		Default(os.Getenv("CONSUL_TLS_SERVER_NAME")).StringVar(&m.TLS.ServerName)
	app.Flag("consul.insecure", "Do not verify certificates, neither the agent's nor the servers'. Default also from CONSUL_HTTP_SSL_VERIFY=false.").
		Default(strconv.FormatBool(isFalse(os.Getenv("CONSUL_HTTP_SSL_VERIFY")))).BoolVar(&m.TLS.Insecure)
	app.Flag("consul.timeout", "How long one request to the HTTP API may take.").
		Default(m.Timeout.String()).DurationVar(&m.Timeout)
	app.Flag("consul.token-file", "File with the ACL token; read again when it changes. Default also from CONSUL_HTTP_TOKEN_FILE; without a file CONSUL_HTTP_TOKEN is used.").
		Default(os.Getenv("CONSUL_HTTP_TOKEN_FILE")).StringVar(&m.TokenFile)
	app.Flag("consul.datacenter", "Datacenter whose catalog, sessions and KV are read. Default: the agent's own.").
		StringVar(&m.Datacenter)
	app.Flag("consul.namespace", "Namespace of Consul Enterprise to read. Default also from CONSUL_NAMESPACE.").
		Default(os.Getenv("CONSUL_NAMESPACE")).StringVar(&m.Namespace)
	app.Flag("consul.partition", "Admin partition of Consul Enterprise to read. Default also from CONSUL_PARTITION.").
		Default(os.Getenv("CONSUL_PARTITION")).StringVar(&m.Partition)
	app.Flag("consul.request-limit", "How many requests to an agent may be under way at one time, besides those that it answers by itself; 0, or more than 8, means 8.").
		Default(strconv.Itoa(m.RequestLimit)).IntVar(&m.RequestLimit)
	app.Flag("consul.max-response-bytes", "How large one answer of the HTTP API may be, and what is kept of it in memory. What a larger one tells is absent, and its collector fails.").
		Default(m.MaxResponseBytes.String()).SetValue(&m.MaxResponseBytes)

	app.Flag("rpc.tls", "Whether port 8300 is spoken to in TLS: on, off, or auto, which does as the agent says.").
		Default(m.RPC.TLS).StringVar(&m.RPC.TLS)
	app.Flag("rpc.ca-file", "PEM file of the authorities that may have signed the certificates of port 8300; read again when it changes. Default: --consul.ca-file.").
		StringVar(&m.RPC.CAFile)
	app.Flag("rpc.cert-file", "PEM file of the client certificate to show port 8300. Default, together with the key: --consul.cert-file.").
		StringVar(&m.RPC.CertFile)
	app.Flag("rpc.key-file", "PEM file of that certificate's key.").
		StringVar(&m.RPC.KeyFile)
	app.Flag("rpc.server-name", "Name to expect in the certificates of port 8300. Default: --consul.server-name, and without that server.<datacenter>.<domain>.").
		StringVar(&m.RPC.ServerName)
	app.Flag("serf.encrypt-key-file", "File with the gossip encryption keys, one in a line or a JSON list as in Consul's keyring file; the first one encrypts. Read again when it changes.").
		StringVar(&m.Serf.EncryptKeyFile)
	app.Flag("dns.domain", "Consul's domain. Default: what the agent says.").
		StringVar(&m.DNS.Domain)

	app.Flag("probe.timeout", "How long the probe of one port may take.").
		Default(m.Probe.Timeout.String()).DurationVar(&m.Probe.Timeout)
	app.Flag("probe.concurrency", "How many probes may run at one time.").
		Default(strconv.Itoa(m.Probe.Concurrency)).IntVar(&m.Probe.Concurrency)
	app.Flag("probe.protocols", "Protocols to probe: rpc, serf_lan, serf_wan, http, https, grpc, grpc_tls, dns. Repeatable, or with commas. Default: all.").
		SetValue((*commaList)(&m.Probe.Protocols))
	app.Flag("probe.client-ports", "Whose ports for clients (HTTP, HTTPS, gRPC, DNS) are probed: servers for every server, agent for the agent asked alone, off for none, "+
		"and auto for every server those that the agent, if it is a server, offers at the address it advertises, and the others for the agent.").
		Default(m.Probe.ClientPorts).StringVar(&m.Probe.ClientPorts)
}

// serveFlags declares the flags of the exporter. Those that consul_exporter has mean the same.
func serveFlags(app *kingpin.CmdClause, opts *options) {
	agentFlags(app, opts)
	m := &opts.module
	app.Flag("consul.allow_stale", "Let any server answer for catalog, sessions and KV, also without a leader.").
		Default("true").IsSetByUser(&opts.consistency.staleAsked).BoolVar(&opts.consistency.allowStale)
	app.Flag("consul.require_consistent", "Have the leader answer for catalog, sessions and KV, after it has made sure that it is the leader. Contradicts --consul.allow_stale.").
		BoolVar(&opts.consistency.requireConsistent)
	app.Flag("consul.agent-only", "Export only what the agent knows of itself and of the services that are registered with it, and ask nothing of the servers.").
		BoolVar(&m.AgentOnly)
	app.Flag("consul.health-summary", "Export the health, tags and meta of each service instance.").
		Default(strconv.FormatBool(m.Catalog.HealthSummary)).BoolVar(&m.Catalog.HealthSummary)
	app.Flag("kv.prefix", "Prefix of the keys to export, where their values are numbers. Without one there are none.").
		StringVar(&m.KV.Prefix)
	app.Flag("kv.filter", "Regular expression of the keys below --kv.prefix to export, matched anywhere in them.").
		Default(m.KV.Filter).StringVar(&m.KV.Filter)
	app.Flag("meta.filter", "Regular expression of the keys of service meta to export, matched anywhere in them.").
		Default(m.Catalog.MetaFilter).StringVar(&m.Catalog.MetaFilter)

	app.Flag("config.file", "File with modules for /probe; see docs/config.example.yml. Read again at SIGHUP.").
		StringVar(&opts.configFile)
	app.Flag("config.check", "Check the flags and the configuration file, say what is wrong with them, and exit.").
		BoolVar(&opts.configCheck)

	opts.web = kingpinflag.AddFlags(app, ":9107")
	app.Flag("web.telemetry-path", "Path of the metrics.").
		Default("/metrics").StringVar(&opts.telemetryPath)
	app.Flag("web.scrape-timeout-offset", "What to take off the time that Prometheus grants a scrape, for the way there and back.").
		Default("500ms").DurationVar(&opts.timeoutOffset)
	app.Flag("web.max-requests", "How many scrapes of Consul may be under way at one time, for all clients and targets together; 0 means any number. Requests that share a scrape count as one.").
		Default("200").IntVar(&opts.maxRequests)
	app.Flag("web.enable-pprof", "Serve profiles of the exporter at /debug/pprof/.").
		BoolVar(&opts.enablePprof)
	app.Flag("web.enable-lifecycle", "Let POST /-/reload read the configuration file again.").
		BoolVar(&opts.enableLifecycle)

	app.Flag("responder.url", "Address of a running responder, such as http://localhost:9108, whose latest decisions the status page shows. Default: none.").
		StringVar(&opts.responderURL)
	app.Flag("responder.secret-file", "File with the secret that the responder wants to know; read again when it changes.").
		StringVar(&opts.responderSecretFile)

	logFlags(app, opts)

	opts.collectors = make(map[string]*bool)
	for _, c := range collector.All() {
		opts.collectors[c.Name] = app.Flag("collector."+c.Name, fmt.Sprintf("Collect %s.", c.Help)).
			Default(strconv.FormatBool(c.Enabled)).Bool()
	}
	app.Flag("collector.catalog.instances", "Count service instances by service and status.").
		Default(strconv.FormatBool(m.Catalog.Instances)).BoolVar(&m.Catalog.Instances)
	app.Flag("collector.catalog.max-series", "How many series of the catalog there may be before all but its totals are left out; 0 means any number.").
		Default(strconv.Itoa(m.Catalog.MaxSeries)).IntVar(&m.Catalog.MaxSeries)
	app.Flag("collector.catalog.service-filter", "Regular expression of the names of services to export, matched anywhere in them. Totals count all. Default: all.").
		StringVar(&m.Catalog.ServiceFilter)
	app.Flag("collector.catalog.node-filter", "Regular expression of the names of nodes to export, matched anywhere in them. Default: all.").
		StringVar(&m.Catalog.NodeFilter)
	app.Flag("collector.catalog.tag-filter", "Regular expression of the tags to export, matched anywhere in them. Default: all.").
		StringVar(&m.Catalog.TagFilter)
	app.Flag("collector.catalog.check-filter", "Regular expression of the IDs or names of checks to export, matched anywhere in them. Default: all.").
		StringVar(&m.Catalog.CheckFilter)
	app.Flag("collector.consistent.timeout", "How long the linearizable read may take. It hangs when there is no leader.").
		Default(m.Consistent.Timeout.String()).DurationVar(&m.Consistent.Timeout)
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

func isFalse(s string) bool {
	b, err := strconv.ParseBool(s)
	return err == nil && !b
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
		opts.changed = changedFlags(command)
	}
	return opts, code, done
}

// usageCode is the exit code after bad flags. That of the command check must not be one of its verdicts.
func usageCode(app *kingpin.Application, args []string) int {
	if parsed, _ := app.ParseContext(args); parsed != nil && parsed.SelectedCommand != nil && parsed.SelectedCommand.FullCommand() == commandCheck {
		return ExitUsage
	}
	return 1
}

// changedFlags returns the flags of a command that differ from their defaults. There are no secrets among them: tokens and keys come
// from files.
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
	{"", "NAME"},
}

// nameValues gives the values of all flags those names. Of its own kingpin repeats the flag's name in capitals.
func nameValues(app *kingpin.Application) {
	for _, command := range app.Model().Commands {
		for _, f := range command.Flags {
			if f.IsBoolFlag() || strings.Join(f.Default, "") != "" {
				continue
			}
			i := slices.IndexFunc(valueNames, func(v struct{ suffix, name string }) bool { return strings.HasSuffix(f.Name, v.suffix) })
			app.GetCommand(command.Name).GetFlag(f.Name).PlaceHolder(valueNames[i].name)
		}
	}
}

// complain prints one line for each error that err joins. Some quote what was written, and kingpin's do so even where a flag's name is
// misspelled.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(redact.Text(err.Error())) {
		fmt.Fprintf(w, "%s: error: %s\n", Name, strings.TrimSpace(line))
	}
}

// settings are the options after validation: what can only come from good flags and readable files.
type settings struct {
	address cluster.Address
	module  *config.ValidModule
	// modules is nil without a configuration file.
	modules   *config.File
	responder web.Responder
}

// flagsOf says which flags a key of config.Module comes from, for what can be wrong with it.
var flagsOf = map[string]string{
	"tls":                    "--consul.ca-file, --consul.cert-file, --consul.key-file",
	"tls.ca_file":            "--consul.ca-file, --consul.cert-file, --consul.key-file",
	"tls.ca_path":            "--consul.ca-file, --consul.cert-file, --consul.key-file",
	"tls.cert_file":          "--consul.ca-file, --consul.cert-file, --consul.key-file",
	"token_file":             "--consul.token-file",
	"basic_auth":             "CONSUL_HTTP_AUTH",
	"timeout":                "--consul.timeout",
	"rpc":                    "--rpc.ca-file, --rpc.cert-file, --rpc.key-file",
	"rpc.tls":                "--rpc.tls",
	"rpc.ca_file":            "--rpc.ca-file",
	"rpc.cert_file":          "--rpc.cert-file, --rpc.key-file",
	"serf.encrypt_key_file":  "--serf.encrypt-key-file",
	"dns.domain":             "--dns.domain",
	"datacenter":             "--consul.datacenter",
	"namespace":              "--consul.namespace",
	"partition":              "--consul.partition",
	"consistency":            "--consul.allow_stale, --consul.require_consistent",
	"request_limit":          "--consul.request-limit",
	"max_response_bytes":     "--consul.max-response-bytes",
	"agent_only":             "--consul.agent-only",
	"catalog.health_summary": "--consul.health-summary",
	"catalog.instances":      "--collector.catalog.instances",
	"catalog.max_series":     "--collector.catalog.max-series",
	"catalog.service_filter": "--collector.catalog.service-filter",
	"catalog.node_filter":    "--collector.catalog.node-filter",
	"catalog.tag_filter":     "--collector.catalog.tag-filter",
	"catalog.check_filter":   "--collector.catalog.check-filter",
	"catalog.meta_filter":    "--meta.filter",
	"kv.prefix":              "--kv.prefix",
	"kv.filter":              "--kv.filter",
	"consistent.timeout":     "--collector.consistent.timeout",
	"probe.timeout":          "--probe.timeout",
	"probe.concurrency":      "--probe.concurrency",
	"probe.protocols":        "--probe.protocols",
	"probe.client_ports":     "--probe.client-ports",
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

// settings checks all options of the exporter and returns all problems at once, one in a line, each with its flag.
func (o *options) settings(logger log.Logger) (*settings, error) {
	var problems flagProblems
	warn := func(where string, err error) { warnUnreadable(logger, where, err) }
	module := o.filledModule()
	s := o.agentSettings(module, &problems, func(p config.Problem) { warn(flagsOf[p.Key], p.Err) })
	problems.note("--consul.allow_stale, --consul.require_consistent", o.consistency.check())
	if o.timeoutOffset < 0 {
		problems.note("--web.scrape-timeout-offset", fmt.Errorf("%s is less than 0", o.timeoutOffset))
	}
	if o.maxRequests < 0 {
		problems.note("--web.max-requests", fmt.Errorf("%d is less than 0", o.maxRequests))
	}
	problems.note("--web.telemetry-path", web.ValidateTelemetryPath(o.telemetryPath))
	problems.note("--web.config.file", validateWebConfig(*o.web.WebConfigFile))
	if len(module.Collectors) == 0 {
		problems.note("--collector.*", errors.New("all collectors are switched off"))
	}
	s.responder = o.responderToShow(&problems, logger)
	if o.configFile != "" {
		var err error
		s.modules, err = config.Open(o.configFile, func(p config.Problem) { warn(p.Key, p.Err) })
		problems = append(problems, err) // Names the file itself.
	}
	return s, errors.Join(problems...)
}

// responderToShow checks the flags about the responder that the status page asks.
func (o *options) responderToShow(problems *flagProblems, logger log.Logger) web.Responder {
	r := web.Responder{URL: o.responderURL}
	if o.responderURL != "" {
		problems.note("--responder.url", web.ValidateResponderURL(o.responderURL))
	}
	if o.responderSecretFile != "" {
		secret, err := cluster.NewTokenFile(o.responderSecretFile, func(err error) { warnUnreadable(logger, "--responder.secret-file", err) })
		if problems.note("--responder.secret-file", err); err == nil {
			r.Secret = secret.Token
		}
	}
	return r
}

// warnUnreadable logs that a file cannot be read again.
func warnUnreadable(logger log.Logger, where string, err error) {
	level.Warn(logger).Log("msg", "file cannot be read again, what it held stays in use", "for", where, "err", err)
}

// agentSettings checks what the flags of agentFlags, and others that fill a module, say.
func (o *options) agentSettings(module config.Module, problems *flagProblems, warn func(config.Problem)) *settings {
	var (
		s   settings
		bad []config.Problem
		err error
	)
	s.address, err = cluster.ParseAddress(o.consulServer)
	problems.note("--consul.server", err)
	s.module, bad = module.Validate(warn)
	for _, p := range bad {
		problems.note(cmp.Or(flagsOf[p.Key], p.Key), p.Err)
	}
	return &s
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
