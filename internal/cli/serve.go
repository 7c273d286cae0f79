// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of the exporter: its commands, their flags and what they print.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	sloggokit "github.com/tjhop/slog-gokit"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/logqueue"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// Name is the name of the program.
const Name = "consul_cluster_exporter"

// Run is the whole program: it returns the exit code. Cancelling ctx is like SIGTERM.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	nameVersion()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // The second signal ends the program at once.
	opts, code, done := parse(args, stdout, stderr)
	if done {
		return code
	}
	switch opts.command {
	case commandAlerts:
		return writeAlerts(&opts.alerts, stdout, stderr)
	case commandDashboards:
		return writeDashboards(&opts.dashboards, stdout, stderr)
	case commandResponder:
		return runResponder(ctx, opts, stdout, stderr)
	case commandHealthcheck:
		return runHealthcheck(ctx, &opts.healthcheck, stdout, stderr)
	case commandCheck:
		return runCheck(ctx, opts, stdout, stderr)
	default:
		return runExporter(ctx, opts, stdout, stderr)
	}
}

// nameVersion names the version where the linker has not, as it does in releases.
var nameVersion = sync.OnceFunc(func() { version.Version = cmp.Or(version.Version, "unreleased") })

// surviveClosedPipes keeps the program alive when the reader of its log is gone. Go ends a program that writes to a broken
// pipe on descriptor 1 or 2, unless it handles SIGPIPE. The signal is not ignored, because the programs that the responder
// starts would inherit that.
func surviveClosedPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// runExporter is the command that serves: it returns the exit code.
func runExporter(ctx context.Context, opts *options, stdout, stderr io.Writer) int {
	surviveClosedPipes()
	// From here on SIGHUP does not end the program.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	base, closeLog := newLogger(opts, stderr)
	defer closeLog()
	logger := withContext(base)
	settings, err := opts.settings(logger)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if opts.configCheck {
		fmt.Fprintln(stdout, "configuration is good")
		return 0
	}
	if err := serve(ctx, opts, settings, hangup, logger, newSlog(base)); err != nil {
		level.Error(logger).Log("msg", "consul_cluster_exporter ends", "err", redact.Text(err.Error()))
		return 1
	}
	return 0
}

// newLogger returns the logger without time and caller, which each of its users adds in its own way; see withContext and
// newSlog. Whoever does not read the log does not hold the program up. What was logged before closeLog is written then,
// unless that blocks.
func newLogger(opts *options, w io.Writer) (logger log.Logger, closeLog func()) {
	queue := logqueue.New(w, func(w io.Writer, dropped int) {
		logger := withContext(formatted(opts, w))
		level.Warn(logger).Log("msg", "the log could not be written for a while, lines are missing here",
			"dropped", dropped)
	})
	return formatted(opts, queue), queue.Close
}

// formatted returns a logger that writes each line with one call of w's Write.
func formatted(opts *options, w io.Writer) log.Logger {
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
func serve(ctx context.Context, opts *options, s *settings, hangup <-chan os.Signal, logger log.Logger, toolkitLogger *slog.Logger) error {
	consul := cluster.New(s.module.Options(s.address))
	defer consul.Close()
	enabled := s.module.Collectors()
	settings := s.module.Settings()
	remembered := new(memory.Memory)
	exporter, err := collector.NewExporter(collector.Options{Cluster: consul, Memory: remembered, Enabled: enabled, Settings: &settings, Logger: logger})
	if err != nil {
		return err
	}
	webOpts := web.Options{
		Exporter: exporter,
		Cluster:  consul,
		Memory:   remembered,
		StatusParts: status.Parts{
			Catalog: slices.Contains(enabled, "catalog"), ConsistentRead: slices.Contains(enabled, "consistent"),
		},
		Flags:           opts.changed,
		Runbook:         alerts.Runbook,
		Responder:       s.responder,
		TelemetryPath:   opts.telemetryPath,
		TimeoutOffset:   opts.timeoutOffset,
		MaxRequests:     opts.maxRequests,
		EnablePprof:     opts.enablePprof,
		EnableLifecycle: opts.enableLifecycle,
		Logger:          logger,
	}
	if s.modules != nil {
		webOpts.Modules = s.modules
		level.Info(logger).Log("msg", "configuration file is loaded", "file", opts.configFile, "modules", strings.Join(s.modules.Names(), ","))
	}
	handler, err := web.NewHandler(webOpts)
	if err != nil {
		return err
	}
	defer handler.Close()
	go reloadAt(ctx, hangup, handler)
	level.Info(logger).Log("msg", "starting", "version", version.Version, "revision", version.GetRevision(), "consul_server", opts.consulServer,
		"collectors", strings.Join(enabled, ","))
	return listenUntil(ctx, web.NewServer(handler, logger), opts.web, logger, toolkitLogger)
}

// reloadAt loads the configuration file anew at each signal until ctx is done.
func reloadAt(ctx context.Context, signals <-chan os.Signal, handler *web.Handler) {
	for {
		select {
		case <-signals:
			_ = handler.Reload() // Is in the log.
		case <-ctx.Done():
			return
		}
	}
}

// stopGrace is how long requests may go on once the program is to end. Docker kills it 10 s after SIGTERM.
const stopGrace = 8 * time.Second

// listenUntil serves until ctx is done. Then it accepts nothing new and waits for the requests under way, but no longer
// than stopGrace: a scrape may have minutes, and a client may never read its answer.
func listenUntil(ctx context.Context, server *http.Server, flags *toolkit.FlagConfig, logger log.Logger, toolkitLogger *slog.Logger) error {
	failed := make(chan error, 1)
	go func() { failed <- toolkit.ListenAndServe(server, flags, toolkitLogger) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	level.Info(logger).Log("msg", "stopping, running scrapes are finished first", "at_most", stopGrace)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		level.Info(logger).Log("msg", "requests that are still under way are cut off")
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	level.Info(logger).Log("msg", "stopped")
	return nil
}
