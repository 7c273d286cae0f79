// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// startTimeout bounds the start of the cluster and of each program. It is generous, for busy machines.
const startTimeout = 2 * time.Minute

// demo is everything that runs, as far as it was started; nil where it was not.
type demo struct {
	out *terminal.Printer // Prints to standard output.
	end context.CancelCauseFunc

	needs    map[string]*need
	dir      string // Has every file that the demo writes, except the cluster's.
	binary   string // The exporter.
	cluster  *consultest.Cluster
	inbox    *inbox // Receives what Alertmanager sends.
	programs []*program
	ended    chan *program // Has those that have ended.
	exporter *program
	rules    []byte     // Those of Prometheus.
	building chan error // Has the result when what joins later is built.
}

// run starts Consul and the exporter, shows them, and watches them until ctx is done. Meanwhile, Alertmanager and
// Prometheus are built, if need be, and join. Call close after it in any case.
func (d *demo) run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("the demo takes no arguments; %s=30 in the environment ends it after 30 s", durationVar)
	}
	duration, err := demoDuration()
	if err != nil {
		return err
	}
	clearConsulEnvironment()
	if err := d.findNeeds(ctx); err != nil {
		return err
	}
	d.describeNeeds()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.describe(ctx, duration); err != nil {
		return err
	}
	if d.inbox, err = openInbox(ctx); err != nil {
		return err
	}
	d.buildTheRest(ctx)
	return d.watch(ctx, duration)
}

// start starts Consul and the exporter, and prints each step.
func (d *demo) start(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"Building the exporter", d.build},
		{"Starting a Consul cluster of three servers and a client", d.startCluster},
		{"Registering services on the client", d.registerServices},
		{"Waiting until the cluster is healthy", d.settle},
		{"Starting the exporter", d.startExporter},
	} {
		d.print(step.what + " ...")
		if err := d.out.Err(); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// build builds the exporter, the command that builds the other programs, and Consul if need be. The compiler's errors
// go to standard error.
func (d *demo) build(ctx context.Context) (err error) {
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	if d.dir, err = consultest.MakeTempDir("consul-cluster-exporter-demo-"); err != nil {
		return err
	}
	d.binary = filepath.Join(d.dir, "consul_cluster_exporter")
	// The version does not matter here, and git may refuse to report it. With a folder as output, Windows gets its
	// ".exe".
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", d.dir, ".", "./tools")
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = root, os.Stderr, consultest.ChildAttributes()
	interruptible(cmd) // The go command also ends the compilers that it runs.
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the exporter: %w", err)
	}
	return d.provideConsul(ctx)
}

// interruptible lets a command end by itself when its context is done.
func interruptible(cmd *exec.Cmd) {
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 15*time.Second
}

// check runs the exporter's command check, with more flags. Its error is an *exec.ExitError unless the cluster is
// healthy.
func (d *demo) check(ctx context.Context, stdout io.Writer, flags ...string) error {
	args := append([]string{"check", "--consul.server=" + d.cluster.Servers[0].URL()}, flags...)
	cmd := exec.CommandContext(ctx, d.binary, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = stdout, os.Stderr, consultest.ChildAttributes()
	return cmd.Run()
}

func (d *demo) startExporter(ctx context.Context) (err error) {
	d.exporter, err = d.startProgram(ctx, "exporter", d.binary, 9107, "--consul.server="+d.cluster.Servers[0].URL())
	return err
}

// watch prints the verdict whenever it changes, and each notification, until ctx is done, or for this duration after
// Alertmanager and Prometheus have joined. The demo is over when the exporter has ended; without the other two it goes
// on.
func (d *demo) watch(ctx context.Context, duration time.Duration) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var last [2]string // Level and verdict.
	for d.out.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.building:
			d.building = nil
			if err = d.join(ctx, err); err != nil && ctx.Err() == nil {
				text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
				d.tell("demo", "Prometheus and Alertmanager cannot join: "+text)
			}
			if duration > 0 {
				defer time.AfterFunc(duration, func() { d.end(fmt.Errorf("the time in %s is over", durationVar)) }).Stop()
			}
		case p := <-d.ended:
			if p == d.exporter {
				return p.ended()
			}
			d.tell("demo", p.ended().Error())
		case n := <-d.inbox.received:
			for _, line := range n.lines() {
				d.tell(n.Receiver, line)
			}
		case <-ticker.C:
			level, verdict := d.verdict(ctx)
			if now := [2]string{level, verdict}; now != last && ctx.Err() == nil && d.exporter.ended() == nil {
				d.tell(level, verdict)
				last = now
			}
		}
	}
	return d.out.Err()
}

// verdict reads the level and the verdict from the status page.
func (d *demo) verdict(ctx context.Context) (level, verdict string) {
	// The page itself takes at most ten seconds.
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var view status.View
	page, err := get(ctx, d.exporter.url()+"/?format=json")
	if err == nil {
		err = json.Unmarshal(page, &view)
	}
	if err != nil {
		return "demo", fmt.Sprintf("cannot read the status page: %v", err)
	}
	return string(view.Level), view.Verdict
}

// tell prints a line with the time and who says it: a level, a receiver of alerts, or the demo.
func (d *demo) tell(who, text string) {
	stamp := terminal.Cell{Text: time.Now().Format(time.TimeOnly) + "  ", Style: terminal.Dim}
	d.out.Line(stamp, plain(fmt.Sprintf("%-8s  ", who)), plain(text))
}

// close ends everything that runs and removes every file that was written.
func (d *demo) close() error {
	if d.building != nil {
		d.end(errors.New("it is closed"))
		<-d.building //nolint:errcheck // It was interrupted.
	}
	for _, p := range slices.Backward(d.programs) {
		p.kill()
	}
	var errs []error
	if d.inbox != nil {
		errs = append(errs, d.inbox.Close())
	}
	if d.cluster != nil {
		errs = append(errs, d.cluster.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}
