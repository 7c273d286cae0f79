// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command demo shows the exporter at work: it starts a Consul cluster of three servers and a client on this machine,
// the exporter, Prometheus with the alerts, and Alertmanager. It prints what runs where, what the exporter's command
// check says, and what to break. Run it with
//
//	go run ./internal/demo
//
// It stays in the foreground and prints a line whenever the verdict on the status page changes or an alert is sent,
// until Ctrl-C, or for as many seconds as the environment variable DEMO_SECONDS says. Then it removes everything.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
)

func main() {
	// Linux kills the children when the thread that started them ends. This thread lives as long as the program, and
	// only the main goroutine starts children.
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:]))
}

// run is the whole program: it returns the exit code.
func run(args []string) int {
	// With a channel for it, a broken pipe is an error of a write and does not end the program on the spot.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// Signals that are ignored, as SIGHUP is under nohup, stay ignored.
	signals := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGHUP}, signal.Ignored)
	ctx, restore := signal.NotifyContext(context.Background(), append(signals, syscall.SIGTERM)...)
	ctx, end := context.WithCancelCause(ctx)
	go endWithParent(end)

	d := &demo{out: terminal.NewPrinter(os.Stdout, terminal.ColorAuto, widest), end: end, ended: make(chan *program, 3)}
	err := d.run(ctx, args)
	if ctx.Err() != nil { // Any error is only a consequence.
		err = nil
		d.print(fmt.Sprintf("\nThe demo ends: %v.", context.Cause(ctx)))
	}
	restore() // From here on another Ctrl-C ends the program at once.
	if d.out.Err() != nil {
		err = nil // Nobody reads the output any more, as after "| head": that ends the demo, too.
	}
	if err := errors.Join(err, d.close()); err != nil {
		fmt.Fprintf(os.Stderr, "demo: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
		return 1
	}
	d.print("All processes are stopped and all files removed.")
	return 0
}

// endWithParent ends the demo when the process that started it is gone: "go run" does not pass on a SIGTERM that ends
// it.
func endWithParent(end context.CancelCauseFunc) {
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			end(errors.New("the process that started it is gone"))
			return
		}
	}
}

// durationVar is the environment variable that limits how long the demo runs, in seconds, once everything is running.
const durationVar = "DEMO_SECONDS"

// widest is how many columns the output takes where it is no terminal.
const widest = 100

// demoDuration returns how long the demo runs; 0 means until something ends it.
func demoDuration() (time.Duration, error) {
	text := os.Getenv(durationVar)
	if text == "" {
		return 0, nil
	}
	duration, err := time.ParseDuration(text + "s")
	if err != nil || duration <= 0 {
		return 0, fmt.Errorf("%s is %q; want a number of seconds above 0", durationVar, text)
	}
	return duration, nil
}

// clearConsulEnvironment unsets the variables that configure Consul's clients and the exporter: those of the user's
// own cluster must not affect the demo. The variables that name the programs to run stay.
func clearConsulEnvironment() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "CONSUL_") && !strings.HasPrefix(name, "CONSUL_CLUSTER_EXPORTER_TOOL_") {
			_ = os.Unsetenv(name)
		}
	}
}
