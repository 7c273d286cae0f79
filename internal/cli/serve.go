// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
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
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// surviveClosedPipes keeps the program alive when the reader of its log is gone. Go ends a program that writes to a
// broken pipe on descriptor 1 or 2, unless it handles SIGPIPE. The signal is not ignored, because the programs that
// the responder starts would inherit that.
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
	valid, err := opts.validate(logger)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if opts.configCheck {
		fmt.Fprintln(stdout, "configuration is good")
		return 0
	}
	if err := serve(ctx, opts, valid, hangup, logger, newSlog(base)); err != nil {
		level.Error(logger).Log("msg", "consul_cluster_exporter ends", "err", redact.Text(err.Error()))
		return 1
	}
	return 0
}

// serve runs the exporter until ctx is done, and then lets running scrapes finish.
func serve(
	ctx context.Context, opts *options, valid *validOptions, hangup <-chan os.Signal, logger log.Logger,
	toolkitLogger *slog.Logger,
) error {
	remembered, err := opts.memory.open(valid.memory)
	if err != nil {
		return err
	}
	defer func() { _ = remembered.Close() }() // What could not be saved is in the log.
	clusterOpts := valid.cluster()
	clusterOpts.Remembered, clusterOpts.Answered = remembered.Remembered, remembered.Answered()
	c := cluster.New(clusterOpts)
	defer c.Close()
	enabled := valid.module.Collectors()
	settings := valid.module.Settings()
	exporter, err := collector.NewExporter(collector.Options{
		Cluster: c, Memory: remembered, Enabled: enabled, Settings: &settings, Logger: logger,
	})
	if err != nil {
		return err
	}
	webOpts := opts.handler
	webOpts.Exporter, webOpts.Cluster, webOpts.Memory, webOpts.Logger = exporter, c, remembered, logger
	webOpts.StatusParts = status.Parts{
		Catalog: slices.Contains(enabled, "catalog"), ConsistentRead: slices.Contains(enabled, "consistent"),
		Peerings: slices.Contains(enabled, "peering"),
	}
	if valid.modules != nil {
		webOpts.Modules = valid.modules
		level.Info(logger).Log("msg", "configuration file is loaded", "file", opts.configFile, "modules",
			strings.Join(valid.modules.Names(), ","))
	}
	handler, err := web.NewHandler(webOpts)
	if err != nil {
		return err
	}
	defer handler.Close()
	go reloadAt(ctx, hangup, handler)
	level.Info(logger).Log("msg", "starting", "version", version.Version, "revision", version.GetRevision(),
		"consul_server", strings.Join(opts.consulServers, ","), "collectors", strings.Join(enabled, ","))
	return listenUntil(ctx, web.NewServer(handler, logger), opts.web, logger, toolkitLogger)
}

// reloadAt reloads the configuration file at each signal until ctx is done.
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
func listenUntil(
	ctx context.Context, server *http.Server, flags *toolkit.FlagConfig, logger log.Logger, toolkitLogger *slog.Logger,
) error {
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
