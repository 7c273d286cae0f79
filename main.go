// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command consul_cluster_exporter is a Prometheus exporter for HashiCorp Consul. At every scrape it tells whether each
// server can really be talked to, what each server says about Raft and what that means for the cluster, also when the
// cluster has no leader or the agent is dead. It only ever reads from Consul.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/hashicorp/consul/api"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	sloggokit "github.com/tjhop/slog-gokit"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/web"
)

const appName = "consul_cluster_exporter"

// readHeaderTimeout bounds how long a client may take to send its request's header.
const readHeaderTimeout = 10 * time.Second

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code. Cancelling ctx is like SIGTERM.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	version.Version = cmp.Or(version.Version, "unreleased") // Set by the linker in releases.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	base := newLogger(opts, stderr)
	logger := withContext(base)
	settings, err := opts.settings(logger)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if err := serve(ctx, opts, settings, logger, newSlog(base)); err != nil {
		level.Error(logger).Log("msg", "consul_cluster_exporter ends", "err", err)
		return 1
	}
	return 0
}

// options are the flags as they were given.
type options struct {
	consulServer    string
	tls             cluster.TLSFiles
	consulTimeout   time.Duration
	consulTokenFile string

	probeTimeout     time.Duration
	probeConcurrency int

	web           *toolkit.FlagConfig
	telemetryPath string
	timeoutOffset time.Duration
	enablePprof   bool

	logLevel, logFormat string

	// collectors has a switch for each collector, by name.
	collectors map[string]*bool
}

// newApp declares all flags. Those that consul_exporter has mean the same. Each flag can be set by an environment variable
// with the prefix CONSUL_CLUSTER_EXPORTER_, and those about the agent default to the variables of Consul's own CLI.
func newApp(opts *options) *kingpin.Application {
	app := kingpin.New(appName, "Prometheus exporter for HashiCorp Consul clusters: asks every server on its own ports.")
	app.HelpFlag.Short('h')
	app.Version(strings.TrimSpace(version.Print(appName)))
	app.DefaultEnvars()

	app.Flag("consul.server", "Address of the HTTP API of a Consul agent: a URL with http, https or unix:///path, or host:port. Default also from CONSUL_HTTP_ADDR.").
		Default(defaultServer()).StringVar(&opts.consulServer)
	app.Flag("consul.ca-file", "PEM file of the authorities that may have signed the agent's certificate. Default also from CONSUL_CACERT.").
		Default(os.Getenv("CONSUL_CACERT")).StringVar(&opts.tls.CAFile)
	app.Flag("consul.cert-file", "PEM file of the client certificate to show the agent. Default also from CONSUL_CLIENT_CERT.").
		Default(os.Getenv("CONSUL_CLIENT_CERT")).StringVar(&opts.tls.CertFile)
	app.Flag("consul.key-file", "PEM file of the client certificate's key. Default also from CONSUL_CLIENT_KEY.").
		Default(os.Getenv("CONSUL_CLIENT_KEY")).StringVar(&opts.tls.KeyFile)
	app.Flag("consul.server-name", "Name to expect in the agent's certificate instead of its host. Default also from CONSUL_TLS_SERVER_NAME.").
		Default(os.Getenv("CONSUL_TLS_SERVER_NAME")).StringVar(&opts.tls.ServerName)
	app.Flag("consul.insecure", "Do not verify the agent's certificate. Default also from CONSUL_HTTP_SSL_VERIFY=false.").
		Default(strconv.FormatBool(isFalse(os.Getenv("CONSUL_HTTP_SSL_VERIFY")))).BoolVar(&opts.tls.Insecure)
	app.Flag("consul.timeout", "How long one request to the HTTP API may take.").
		Default("2s").DurationVar(&opts.consulTimeout)
	app.Flag("consul.token-file", "File with the ACL token; read again when it changes. Default also from CONSUL_HTTP_TOKEN_FILE; without a file CONSUL_HTTP_TOKEN is used.").
		Default(os.Getenv("CONSUL_HTTP_TOKEN_FILE")).StringVar(&opts.consulTokenFile)

	app.Flag("probe.timeout", "How long the probe of one port may take.").
		Default("3s").DurationVar(&opts.probeTimeout)
	app.Flag("probe.concurrency", "How many probes may run at one time.").
		Default("64").IntVar(&opts.probeConcurrency)

	opts.web = kingpinflag.AddFlags(app, ":9107")
	app.Flag("web.telemetry-path", "Path of the metrics.").
		Default("/metrics").StringVar(&opts.telemetryPath)
	app.Flag("web.scrape-timeout-offset", "What to take off the time that Prometheus grants a scrape, for the way there and back.").
		Default("500ms").DurationVar(&opts.timeoutOffset)
	app.Flag("web.enable-pprof", "Serve profiles of the exporter at /debug/pprof/.").
		BoolVar(&opts.enablePprof)

	app.Flag("log.level", "Lowest level that is logged: debug, info, warn or error.").
		Default("info").EnumVar(&opts.logLevel, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of the log: logfmt or json.").
		Default("logfmt").EnumVar(&opts.logFormat, "logfmt", "json")

	opts.collectors = make(map[string]*bool)
	for _, c := range collector.All() {
		opts.collectors[c.Name] = app.Flag("collector."+c.Name, fmt.Sprintf("Collect %s.", c.Help)).
			Default(strconv.FormatBool(c.Enabled)).Bool()
	}
	return app
}

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
	_, err := app.Parse(args)
	if err != nil && !done {
		complain(stderr, fmt.Errorf("%w, try --help", err))
		return nil, 1, true
	}
	return opts, code, done
}

// complain prints one line for each error that err joins.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "%s: error: %s\n", appName, strings.TrimSpace(line))
	}
}

// settings are the options after validation: what can only come from good flags and readable files.
type settings struct {
	address   cluster.Address
	tls       *tls.Config
	token     func() string
	basicAuth *api.HttpBasicAuth
	enabled   []string
}

// settings checks all options and returns all problems at once, one in a line, each with its flag.
func (o *options) settings(logger log.Logger) (*settings, error) {
	var (
		s    settings
		errs []error
	)
	problem := func(flag string, err error) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			errs = append(errs, fmt.Errorf("%s: %s", flag, strings.TrimSpace(line)))
		}
	}
	var err error
	s.address, err = cluster.ParseAddress(o.consulServer)
	problem("--consul.server", err)
	o.tls.CAPath = os.Getenv("CONSUL_CAPATH")
	s.tls, err = o.tls.Config()
	problem("--consul.ca-file, --consul.cert-file, --consul.key-file", err)
	s.token, err = newToken(o.consulTokenFile, logger)
	problem("--consul.token-file", err)
	s.basicAuth, err = newBasicAuth(os.Getenv("CONSUL_HTTP_AUTH"))
	problem("CONSUL_HTTP_AUTH", err)

	problem("--consul.timeout", positive(o.consulTimeout))
	problem("--probe.timeout", positive(o.probeTimeout))
	if o.probeConcurrency < 1 {
		problem("--probe.concurrency", fmt.Errorf("%d is less than 1", o.probeConcurrency))
	}
	if o.timeoutOffset < 0 {
		problem("--web.scrape-timeout-offset", fmt.Errorf("%s is less than 0", o.timeoutOffset))
	}
	problem("--web.telemetry-path", web.ValidateTelemetryPath(o.telemetryPath))
	problem("--web.config.file", toolkit.Validate(*o.web.WebConfigFile))

	for _, c := range collector.All() {
		if *o.collectors[c.Name] {
			s.enabled = append(s.enabled, c.Name)
		}
	}
	if len(s.enabled) == 0 {
		problem("--collector.*", errors.New("all collectors are switched off"))
	}
	return &s, errors.Join(errs...)
}

func positive(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s is not above 0", d)
	}
	return nil
}

// newToken returns the source of the ACL token: the file if there is one, or else CONSUL_HTTP_TOKEN.
func newToken(file string, logger log.Logger) (func() string, error) {
	if file == "" {
		token := strings.TrimSpace(os.Getenv("CONSUL_HTTP_TOKEN"))
		return func() string { return token }, nil
	}
	f, err := cluster.NewTokenFile(file, func(err error) {
		level.Warn(logger).Log("msg", "token file cannot be read, the last token stays in use", "err", err)
	})
	if err != nil {
		return nil, err
	}
	return f.Token, nil
}

func newBasicAuth(s string) (*api.HttpBasicAuth, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // No authentication is no error.
	}
	user, password, ok := strings.Cut(s, ":")
	if !ok {
		return nil, errors.New("want user:password")
	}
	return &api.HttpBasicAuth{Username: user, Password: password}, nil
}

// newLogger returns the logger without time and caller, which each of its users adds in its own way; see withContext and
// newSlog.
func newLogger(opts *options, w io.Writer) log.Logger {
	w = log.NewSyncWriter(w)
	logger := log.NewLogfmtLogger(w)
	if opts.logFormat == "json" {
		logger = log.NewJSONLogger(w)
	}
	return level.NewFilter(logger, level.Allow(level.ParseDefault(opts.logLevel, level.InfoValue())))
}

func withContext(logger log.Logger) log.Logger {
	return log.With(logger, "ts", log.DefaultTimestampUTC, "caller", log.DefaultCaller)
}

// newSlog lets exporter-toolkit, which logs with slog, write to the same log. The bridge adds the caller and the time; the time is
// renamed to what go-kit calls it.
func newSlog(logger log.Logger) *slog.Logger {
	renamed := log.LoggerFunc(func(keyvals ...any) error {
		for i := 0; i < len(keyvals); i += 2 {
			if keyvals[i] == slog.TimeKey {
				keyvals[i] = "ts"
			}
		}
		return logger.Log(keyvals...)
	})
	return slog.New(sloggokit.NewGoKitHandler(renamed, slog.LevelDebug))
}

// serve runs the exporter until ctx is done, and then lets running scrapes finish.
func serve(ctx context.Context, opts *options, s *settings, logger log.Logger, toolkitLogger *slog.Logger) error {
	consul := cluster.New(cluster.Options{
		Client: cluster.ClientOptions{
			Address:   s.address,
			TLS:       s.tls,
			Token:     s.token,
			BasicAuth: s.basicAuth,
			Namespace: os.Getenv("CONSUL_NAMESPACE"),
			Partition: os.Getenv("CONSUL_PARTITION"),
			Timeout:   opts.consulTimeout,
		},
		Ports: cluster.PortOptions{Timeout: opts.probeTimeout, Concurrency: opts.probeConcurrency},
	})
	defer consul.Close()
	exporter, err := collector.NewExporter(collector.Options{Cluster: consul, Enabled: s.enabled, Logger: logger})
	if err != nil {
		return err
	}
	handler, err := web.NewHandler(web.Options{
		Exporter:      exporter,
		TelemetryPath: opts.telemetryPath,
		TimeoutOffset: opts.timeoutOffset,
		EnablePprof:   opts.enablePprof,
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	level.Info(logger).Log("msg", "starting", "version", version.Info(), "consul_server", opts.consulServer,
		"collectors", strings.Join(s.enabled, ","))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout}
	return listenUntil(ctx, server, opts.web, logger, toolkitLogger)
}

// listenUntil serves until ctx is done; then it accepts nothing new and waits for the requests under way.
func listenUntil(ctx context.Context, server *http.Server, flags *toolkit.FlagConfig, logger log.Logger, toolkitLogger *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- toolkit.ListenAndServe(server, flags, toolkitLogger) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	level.Info(logger).Log("msg", "stopping, running scrapes are finished first")
	// Scrapes end by themselves, at their own deadline.
	if err := server.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	level.Info(logger).Log("msg", "stopped")
	return nil
}
