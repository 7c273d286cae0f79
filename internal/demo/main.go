// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command demo shows the exporter at work: it starts a Consul cluster of three servers and a client on this machine, the
// exporter, Prometheus with the alerts, and Alertmanager, prints what runs where and how the cluster is, and says what to break.
// Run it with
//
//	go run ./internal/demo
//
// It stays in the foreground and prints a line whenever the state of the cluster changes or an alert is sent, until Ctrl-C, or
// until it has run for as many seconds as the environment variable DEMO_SECONDS says. Nothing is left of it then.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	// Linux kills the children when the thread dies that started them. This one lives as long as the program, and only
	// the main goroutine starts any, see startProcess.
	runtime.LockOSThread()
	if len(os.Args) > 1 {
		complain(os.Stderr, fmt.Errorf("the demo takes no arguments; %s=30 in the environment ends it after 30 s", durationVar))
		os.Exit(1)
	}
	os.Exit(run(os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code.
func run(stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	out := &output{w: stdout, failed: func() { cancel(errors.New("nobody reads the output")) }}
	restore := endOn(cancel)
	go endWithParent(ctx, cancel)

	d := &demo{out: out}
	err := d.run(ctx)
	// From here on another Ctrl-C ends the program at once.
	restore()
	if ctx.Err() != nil {
		// Whatever failed, failed because the demo was to end.
		err = nil
		out.printf("\nThe demo ends: %v.\n", context.Cause(ctx))
	}
	if err = errors.Join(err, d.close()); err != nil {
		complain(stderr, err)
		return 1
	}
	out.printf("All processes are stopped and all files removed.\n")
	return 0
}

// complain prints an error; of an error of several lines all but the first are indented.
func complain(w io.Writer, err error) {
	fmt.Fprintf(w, "demo: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
}

// endOn calls cancel on the signals that ask a program in a terminal to end, until restore is called.
func endOn(cancel context.CancelCauseFunc) (restore func()) {
	// With a channel for it, a broken pipe is an error of a write and does not end the program on the spot.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// What is ignored, as SIGHUP is under nohup, stays so.
	ends := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
	received := make(chan os.Signal, 1)
	signal.Notify(received, ends...)
	go func() {
		s, ok := <-received
		switch {
		case !ok:
		case s == os.Interrupt:
			cancel(errors.New("Ctrl-C"))
		default:
			cancel(fmt.Errorf("signal %q", s))
		}
	}()
	return func() {
		signal.Stop(received)
		close(received)
	}
}

// endWithParent calls cancel when the process that started this one is gone: "go run" dies of a SIGTERM without handing
// it on.
func endWithParent(ctx context.Context, cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for os.Getppid() == parent {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	cancel(errors.New("the process that started it is gone"))
}

// durationVar is the environment variable that limits how long the demo runs, in seconds, from when all is running.
const durationVar = "DEMO_SECONDS"

// demoDuration returns how long the demo is to run; 0 means until it is told to end.
func demoDuration() (time.Duration, error) {
	text := os.Getenv(durationVar)
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds > 0 && seconds <= 1e9) {
		return 0, fmt.Errorf("%s is %q; want a number of seconds above 0", durationVar, text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// clearConsulEnvironment removes the variables that configure Consul's clients: what the user has set for a cluster of
// their own must not bend the demo's. Those that choose the programs to run stay.
func clearConsulEnvironment() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "CONSUL_") && !strings.HasPrefix(name, "CONSUL_CLUSTER_EXPORTER_TOOL_") {
			_ = os.Unsetenv(name)
		}
	}
}
