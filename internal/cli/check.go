// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// checkOptions are the flags of the command that looks once.
type checkOptions struct {
	output     string
	timeout    time.Duration
	safeToStop string
	wait       time.Duration
}

// The exit codes of the command. The first four are those of plugins of Nagios and its like; the last one is EX_USAGE
// of sysexits.h.
const (
	ExitHealthy  = 0
	ExitDegraded = 1
	ExitCritical = 2
	ExitUnknown  = 3
	ExitUsage    = 64

	ExitSafe   = ExitHealthy
	ExitUnsafe = ExitCritical
)

// The formats of the output.
const (
	outputText = "text"
	outputJSON = "json"
)

// checkPause is the time between two attempts of --wait.
const checkPause = 2 * time.Second

// checkFlags declares the flags of the command.
func checkFlags(cmd *kingpin.CmdClause, opts *options) {
	agentFlags(cmd, opts)
	memoryFlags(cmd, &opts.memory)
	cmd.Flag("state.file", "State file of an exporter, to know the servers that are gone. It is only read.").
		StringVar(&opts.memory.stateFile)
	cmd.Flag("exporter", "Address of a running exporter, such as http://localhost:9107, to know the servers that are gone.").
		StringVar(&opts.memory.exporter)
	c := &opts.check
	cmd.Flag("output", "Format of the output: text or json.").
		Default(outputText).EnumVar(&c.output, outputText, outputJSON)
	cmd.Flag("timeout", "How long to ask, in all; with --wait, each time. What is not known by then is left out.").
		Default("10s").DurationVar(&c.timeout)
	cmd.Flag("safe-to-stop", "Name of a server: say whether the cluster keeps its quorum without it, and why.").
		StringVar(&c.safeToStop)
	cmd.Flag("wait", "How long to ask again and again, every 2 s, until --safe-to-stop is yes.").
		Default("0s").DurationVar(&c.wait)
}

// problems checks what is wrong with the command's own flags.
func (o *checkOptions) problems(ps *flagProblems) {
	if o.timeout <= 0 {
		ps.note("--timeout", fmt.Errorf("%s is not above 0", o.timeout))
	}
	if o.wait < 0 {
		ps.note("--wait", fmt.Errorf("%s is less than 0", o.wait))
	}
	if o.wait > 0 && o.safeToStop == "" {
		ps.note("--wait", errors.New("there is nothing to wait for without --safe-to-stop"))
	}
}

// runCheck is the command: it returns the exit code.
func runCheck(ctx context.Context, opts *options, stdout, stderr io.Writer) int {
	var problems flagProblems
	valid := opts.validateAgent(opts.agentModule(), &problems, nil)
	opts.check.problems(&problems)
	memoryOpts := opts.memory.options(&problems, nil)
	if opts.memory.exporter != "" {
		problems.note("--exporter", validateExporter(opts.memory.exporter))
	}
	if opts.memory.exporter != "" && opts.memory.stateFile != "" {
		problems.note("--exporter, --state.file", errors.New("only one of them can be used"))
	}
	if err := errors.Join(problems...); err != nil {
		complain(stderr, err)
		return ExitUsage
	}
	remembered, note := opts.memory.read(ctx, memoryOpts)
	clusterOpts := valid.cluster()
	clusterOpts.Remembered = remembered.Remembered
	c := cluster.New(clusterOpts)
	defer c.Close()
	var (
		code  int
		shown any
		write func(io.Writer) error
	)
	if opts.check.safeToStop == "" {
		view := checkStatus(ctx, c, remembered, opts.check.timeout)
		view.Memory = note
		code, shown, write = LevelCodes[view.Level], view, func(w io.Writer) error { return printStatus(w, &view) }
	} else {
		answer := waitForStop(ctx, c, &opts.check, stderr)
		code, shown, write = answer.code(), answer, func(w io.Writer) error { return printAnswer(w, &answer) }
	}
	if opts.check.output == outputJSON {
		write = func(w io.Writer) error { return printJSON(w, shown) }
	}
	if err := write(stdout); err != nil {
		complain(stderr, fmt.Errorf("write: %w", err))
		return ExitUnknown
	}
	return code
}

// LevelCodes are the exit codes.
var LevelCodes = map[status.Level]int{
	status.LevelHealthy:  ExitHealthy,
	status.LevelDegraded: ExitDegraded,
	status.LevelCritical: ExitCritical,
	status.LevelUnknown:  ExitUnknown,
}

// checkStatus looks once at all of the cluster.
func checkStatus(
	ctx context.Context, c *cluster.Cluster, remembered *memory.Memory, timeout time.Duration,
) status.View {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	return status.Read(ctx, snap, remembered, status.Parts{Catalog: true, ConsistentRead: true})
}

// stopAnswer is what --safe-to-stop answers, and in this form as JSON.
type stopAnswer struct {
	Time time.Time `json:"time"`
	verdict.Stop
	// Error is why there is no telling; then the rest means nothing, and safe is false.
	Error string `json:"error,omitempty"`
}

func (a *stopAnswer) code() int {
	switch {
	case a.Error != "":
		return ExitUnknown
	case a.Safe:
		return ExitSafe
	default:
		return ExitUnsafe
	}
}

// waitForStop asks whether the server can be stopped until it can, or until the time to wait is over. What it waits
// for, it says once.
func waitForStop(ctx context.Context, c *cluster.Cluster, opts *checkOptions, stderr io.Writer) stopAnswer {
	deadline := time.Now().Add(opts.wait)
	said := ""
	for {
		answer := checkStop(ctx, c, opts)
		if answer.code() == ExitSafe || time.Now().Add(checkPause).After(deadline) {
			return answer
		}
		if why := cmp.Or(answer.Error, strings.Join(answer.Reasons, " ")); why != said {
			said = why
			printWaiting(stderr, answer.Time, why)
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			return answer
		}
	}
}

// checkStop asks once whether the server can be stopped.
func checkStop(ctx context.Context, c *cluster.Cluster, opts *checkOptions) stopAnswer {
	answer := stopAnswer{Time: time.Now().Truncate(time.Millisecond)}
	ctx, cancel := context.WithTimeout(ctx, opts.timeout)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	agent := snap.Agent()
	in, err := snap.StopInput(ctx)
	if err == nil {
		answer.Stop, err = verdict.JudgeStop(opts.safeToStop, in)
	}
	if err == nil {
		return answer
	}
	answer.Stop = verdict.Stop{Server: opts.safeToStop, Reasons: []string{}}
	_, agentErr := agent.Get(ctx)
	if agentErr != nil && !errors.Is(agentErr, consul.ErrRefused) && !errors.Is(err, verdict.ErrUnknownServer) {
		err = fmt.Errorf("the agent at %s does not answer (%w); without an agent the servers are not known, so name "+
			"another one with --consul.server", snap.Address(), agentErr)
	}
	answer.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	return answer
}

// printJSON writes a value as JSON in which names cannot hold what a terminal would obey.
func printJSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else { // Is within a string.
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}
