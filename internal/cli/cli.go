// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of the exporter: its commands, their flags and what they print.
package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/prometheus/common/version"
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
	var err error
	switch opts.command {
	case commandServe:
		return runExporter(ctx, opts, stdout, stderr)
	case commandCheck:
		return runCheck(ctx, opts, stdout, stderr)
	case commandResponderRun, commandResponderTest:
		return runResponder(ctx, opts, stdout, stderr)
	case commandAlerts:
		err = writeAlerts(&opts.alerts, stdout)
	case commandDashboards:
		err = writeDashboards(opts.dashboards, stdout)
	case commandForget:
		err = opts.memory.forgetServer(stdout)
	case commandVersion:
		_, err = fmt.Fprintln(stdout, versionText())
	case commandHealthcheck:
		err = healthcheck(ctx, opts.healthcheck, stdout)
	}
	if err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// nameVersion names the version where the linker has not, as it does in releases.
var nameVersion = sync.OnceFunc(func() { version.Version = cmp.Or(version.Version, "unreleased") })
