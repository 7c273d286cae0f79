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
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// checkOptions are the flags of the command that looks once.
type checkOptions struct {
	output     string
	color      string
	quiet      bool
	watch      bool
	interval   time.Duration
	only       string
	timeout    time.Duration
	safeToStop string
	// safeToStopAsked is whether there is such a question, perhaps about an empty name.
	safeToStopAsked bool
	wait            time.Duration
	reserveOptions
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

// The parts of what is shown that --only takes.
const (
	onlyCluster  = "cluster"
	onlyServices = "services"
)

// The formats of the output.
const (
	outputText   = "text"
	outputJSON   = "json"
	outputNagios = "nagios"
)

// minInterval is the shortest time between two looks of --watch: each costs Consul as much as a scrape.
const minInterval = time.Second

// checkPause is the time between two attempts of --wait.
const checkPause = 2 * time.Second

// checkFlags declares the flags of the command.
func checkFlags(cmd *kingpin.CmdClause, opts *options) {
	agentFlags(cmd, opts)
	memoryFlags(cmd, &opts.memory)
	cmd.Flag("state.file", "State file of an exporter, to know the servers that are gone. It is only read.").
		StringVar(&opts.memory.stateFile)
	exporterFlags(cmd, &opts.memory)
	c := &opts.check
	cmd.Flag("output", "Format of the output: text, json, or nagios for a plugin of Nagios, Icinga and the like.").
		Default(outputText).EnumVar(&c.output, outputText, outputJSON, outputNagios)
	cmd.Flag("color", "When to use colors: always, never, or auto for terminals unless NO_COLOR is set.").
		Default(string(terminal.ColorAuto)).
		EnumVar(&c.color, string(terminal.ColorAuto), string(terminal.ColorAlways), string(terminal.ColorNever))
	cmd.Flag("quiet", "Print one line: the verdict.").BoolVar(&c.quiet)
	cmd.Flag("watch", "Look again every --interval and redraw, until Ctrl-C. The exit code is that of the last look.").
		BoolVar(&c.watch)
	cmd.Flag("interval", "Time between two looks of --watch.").Default("10s").DurationVar(&c.interval)
	cmd.Flag("only", "Show and judge one part: cluster for Consul itself, or services for what is registered with it. "+
		"Without it both are shown, and the exit code is that of the cluster.").EnumVar(&c.only, onlyCluster, onlyServices)
	cmd.Flag("timeout", "How long to ask, in all; with --wait, each time. What is not known by then is left out.").
		Default("10s").DurationVar(&c.timeout)
	cmd.Flag("safe-to-stop", "Name or node ID of a server: say whether the cluster keeps its quorum without it, and why.").
		IsSetByUser(&c.safeToStopAsked).StringVar(&c.safeToStop)
	cmd.Flag("wait", "How long to ask again and again, every 2 s, until --safe-to-stop is yes, or --release is done.").
		Default("0s").DurationVar(&c.wait)
	reserveFlags(cmd, &c.reserveOptions)
}

// problems checks what is wrong with the command's own flags.
func (o *checkOptions) problems(ps *flagProblems) {
	if o.timeout <= 0 {
		ps.note("--timeout", fmt.Errorf("%s is not above 0", o.timeout))
	}
	if o.wait < 0 {
		ps.note("--wait", fmt.Errorf("%s is less than 0", o.wait))
	}
	if o.safeToStopAsked && o.safeToStop == "" { // Such as of an unset variable: the exit code would be about the cluster.
		ps.note("--safe-to-stop", errors.New("names no server"))
	}
	if o.only != "" && o.safeToStop != "" {
		ps.note("--only", errors.New("--safe-to-stop asks about a server"))
	}
	if o.quiet && o.output != outputText {
		ps.note("--quiet", fmt.Errorf("contradicts --output=%s", o.output))
	}
	if o.watch && o.output != outputText {
		ps.note("--watch", fmt.Errorf("contradicts --output=%s", o.output))
	}
	if o.watch && (o.safeToStop != "" || o.release != "") {
		ps.note("--watch", errors.New("shows the cluster; use --wait with --safe-to-stop and --release"))
	}
	if o.interval < minInterval {
		ps.note("--interval", fmt.Errorf("%s is less than %s", o.interval, minInterval))
	}
	if o.output == outputNagios && (o.safeToStop != "" || o.release != "") {
		ps.note("--output", errors.New("nagios is about the cluster; use the exit code of --safe-to-stop and --release"))
	}
	if o.wait > 0 && o.safeToStop == "" && o.release == "" {
		ps.note("--wait", errors.New("there is nothing to wait for without --safe-to-stop"))
	}
	o.reserveOptions.problems(ps, o.safeToStop)
}

// found is what the command has found: its exit code, and what it prints in each format.
type found struct {
	code   int
	json   any
	text   func(p report)
	nagios func() string // Nil if there is no such format.
}

// runCheck is the command: it returns the exit code.
func runCheck(ctx context.Context, opts *options, stdout, stderr io.Writer) int {
	var problems flagProblems
	valid := opts.validateAgent(opts.agentModule(), &problems, nil)
	opts.check.problems(&problems)
	memoryOpts := opts.memory.options(&problems, nil)
	opts.memory.problems(&problems)
	if err := errors.Join(problems...); err != nil {
		return opts.check.refuse(err, stdout, stderr)
	}
	remembered, note := opts.memory.read(ctx, memoryOpts)
	clusterOpts := valid.cluster()
	clusterOpts.Remembered, clusterOpts.Answered = remembered.Remembered, remembered.Answered()
	c := cluster.New(clusterOpts)
	defer c.Close()
	reserver, err := newReserver(c, &opts.check)
	if err != nil {
		return opts.check.refuse(err, stdout, stderr)
	}
	look := func() found {
		if opts.check.release != "" {
			return lookForRelease(ctx, reserver, &opts.check, stderr)
		}
		noteOf := func() string { // Whose memory it is turns out when Consul has answered.
			if c.RemembersAnother() {
				return othersMemory
			}
			return note
		}
		if opts.check.safeToStop != "" {
			return lookForStop(ctx, c, reserver, &opts.check, noteOf, stderr)
		}
		return lookAtStatus(ctx, c, remembered, &opts.check, noteOf)
	}
	p := terminal.NewPrinter(stdout, terminal.Color(opts.check.color), terminal.Narrow)
	var code int
	if opts.check.watch {
		code, err = watch(ctx, p, opts.check.interval, look)
	} else {
		what := look()
		code, err = what.code, what.print(p, stdout, opts.check.output)
	}
	if err != nil {
		complain(stderr, fmt.Errorf("write: %w", err))
		return ExitUnknown
	}
	return code
}

// print prints in a format.
func (f *found) print(p *terminal.Printer, w io.Writer, output string) error {
	switch output {
	case outputJSON:
		return printJSON(w, f.json)
	case outputNagios:
		_, err := io.WriteString(w, f.nagios())
		return err
	default:
		f.text(report{p})
		return p.Err()
	}
}

// refuse says what is wrong with the flags, and returns the exit code.
func (o *checkOptions) refuse(err error, stdout, stderr io.Writer) int {
	if o.output == outputNagios { // It shows only what is on standard output.
		complain(stdout, err)
		return ExitUnknown
	}
	complain(stderr, err)
	return ExitUsage
}

// lookAtStatus looks at the cluster. The note is about the memory.
func lookAtStatus(
	ctx context.Context, c *cluster.Cluster, remembered *memory.Memory, opts *checkOptions, note func() string,
) found {
	view := checkStatus(ctx, c, remembered, opts)
	view.Memory = note()
	if opts.only == onlyServices {
		return found{
			code: LevelCodes[view.Services.Level], json: view.ServicesOnly(),
			text:   func(p report) { printServices(p, &view, opts.quiet) },
			nagios: func() string { return nagiosServices(&view) },
		}
	}
	return found{
		code: LevelCodes[view.Level], json: view,
		text:   func(p report) { printStatus(p, &view, opts.quiet) },
		nagios: func() string { return nagiosStatus(&view) },
	}
}

// lookForStop looks whether a server can be stopped. The note is about the memory.
func lookForStop(
	ctx context.Context, c *cluster.Cluster, r *reserver, opts *checkOptions, note func() string, stderr io.Writer,
) found {
	answer := waitForStop(ctx, c, r, opts, stderr)
	answer.Memory = note()
	return found{
		code: answer.code(), json: answer, text: func(p report) { printAnswer(p, &answer, opts.quiet) },
	}
}

// lookForRelease looks whether a server is back, so that its reservation can be released.
func lookForRelease(ctx context.Context, r *reserver, opts *checkOptions, stderr io.Writer) found {
	answer := waitForRelease(ctx, r, opts, stderr)
	return found{
		code: answer.code(), json: answer, text: func(p report) { printRelease(p, &answer, opts.quiet) },
	}
}

// LevelCodes are the exit codes.
var LevelCodes = map[status.Level]int{
	status.LevelHealthy:  ExitHealthy,
	status.LevelDegraded: ExitDegraded,
	status.LevelCritical: ExitCritical,
	status.LevelUnknown:  ExitUnknown,
}

// checkStatus looks once at all of the cluster that is wanted.
func checkStatus(
	ctx context.Context, c *cluster.Cluster, remembered *memory.Memory, opts *checkOptions,
) status.View {
	ctx, cancel := context.WithTimeout(ctx, opts.timeout)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	view := status.Read(ctx, snap, remembered, status.Parts{
		Catalog: opts.only != onlyCluster, ConsistentRead: opts.only != onlyServices, Peerings: opts.only != onlyServices,
		ServicesOnly: opts.only == onlyServices,
	})
	if opts.only == onlyCluster {
		return view.ClusterOnly()
	}
	return view
}

// stopAnswer is the answer of check --safe-to-stop.
type stopAnswer struct {
	// Time is when the question was put.
	Time time.Time `json:"time"`
	verdict.Stop
	// Error is why nothing could be judged: then the rest means nothing, safe is false, and the answer is unknown; left
	// out otherwise.
	Error string `json:"error,omitempty"`
	// Memory says that servers that went before cannot be known; left out when they are.
	Memory string `json:"memory,omitempty"`
}

// answerCodes are the exit codes.
var answerCodes = map[verdict.Answer]int{
	verdict.AnswerYes: ExitSafe, verdict.AnswerNo: ExitUnsafe, verdict.AnswerUnknown: ExitUnknown,
}

func (a *stopAnswer) code() int { return answerCodes[a.Answer] }

// waitForStop asks whether the server can be stopped until it can, or until the time to wait is over. What it waits
// for, it says once.
func waitForStop(
	ctx context.Context, c *cluster.Cluster, r *reserver, opts *checkOptions, stderr io.Writer,
) (answer stopAnswer) {
	waitUntil(ctx, opts, stderr, func() (done bool, why string) {
		answer = checkStop(ctx, c, r, opts)
		return answer.code() == ExitSafe, cmp.Or(answer.Error, strings.Join(answer.Reasons, " "))
	})
	return answer
}

// waitUntil asks until that is done, or until the time to wait is over.
func waitUntil(ctx context.Context, opts *checkOptions, stderr io.Writer, ask func() (done bool, why string)) {
	deadline := time.Now().Add(opts.wait)
	said := ""
	for {
		began := time.Now()
		done, why := ask()
		if done || time.Now().Add(checkPause).After(deadline) {
			return
		}
		if why != said {
			said = why
			printWaiting(stderr, terminal.Color(opts.color), began, why)
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			return
		}
	}
}

// checkStop asks once whether the server can be stopped, and reserves that if there is a reserver.
func checkStop(ctx context.Context, c *cluster.Cluster, r *reserver, opts *checkOptions) stopAnswer {
	answer := stopAnswer{Time: time.Now().Truncate(time.Millisecond)}
	var err error
	if r != nil {
		answer.Stop, err = r.ask(ctx, opts.safeToStop)
	} else {
		var in inputs.Stop
		if in, _, err = lookToStop(ctx, c, opts.timeout); err == nil {
			answer.Stop, err = verdict.JudgeStop(opts.safeToStop, in)
		}
	}
	if err != nil {
		answer.Stop = verdict.Stop{
			Server: opts.safeToStop, Answer: verdict.AnswerUnknown, Reasons: answer.Reasons, CatchUp: verdict.AnswerUnknown,
		}
		answer.Error = oneLine(err)
	}
	if answer.Reasons == nil {
		answer.Reasons = []string{}
	}
	return answer
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// releaseAnswer is the answer of check --release.
type releaseAnswer struct {
	// Time is when the question was put.
	Time time.Time `json:"time"`
	// Server is the name or node ID that was given.
	Server string `json:"server"`
	// Released is whether the server is back and has no reservation anymore.
	Released bool `json:"released"`
	// Answer is whether the server is back.
	Answer verdict.Answer `json:"answer"`
	// Reason says why, as a clause.
	Reason string `json:"reason"`
}

func (a *releaseAnswer) code() int { return answerCodes[a.Answer] }

// waitForRelease tries to release the server's reservation until the server is back, or until the time to wait is over.
func waitForRelease(ctx context.Context, r *reserver, opts *checkOptions, stderr io.Writer) (answer releaseAnswer) {
	waitUntil(ctx, opts, stderr, func() (done bool, why string) {
		answer = releaseAnswer{Time: time.Now().Truncate(time.Millisecond), Server: opts.release}
		var err error
		if answer.Answer, answer.Reason, err = r.back(ctx, opts.release); err != nil {
			answer.Answer, answer.Reason = verdict.AnswerUnknown, oneLine(err)
		}
		answer.Released = answer.Answer == verdict.AnswerYes
		return answer.Released, answer.Reason
	})
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
