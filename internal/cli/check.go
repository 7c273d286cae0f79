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
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// checkOptions are the flags of the command that looks once.
type checkOptions struct {
	output     string
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
	exporterFlags(cmd, &opts.memory)
	c := &opts.check
	cmd.Flag("output", "Format of the output: text or json.").
		Default(outputText).EnumVar(&c.output, outputText, outputJSON)
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
	if o.wait > 0 && o.safeToStop == "" && o.release == "" {
		ps.note("--wait", errors.New("there is nothing to wait for without --safe-to-stop"))
	}
	o.reserveOptions.problems(ps, o.safeToStop)
}

// runCheck is the command: it returns the exit code.
func runCheck(ctx context.Context, opts *options, stdout, stderr io.Writer) int {
	var problems flagProblems
	valid := opts.validateAgent(opts.agentModule(), &problems, nil)
	opts.check.problems(&problems)
	memoryOpts := opts.memory.options(&problems, nil)
	opts.memory.problems(&problems)
	if err := errors.Join(problems...); err != nil {
		complain(stderr, err)
		return ExitUsage
	}
	remembered, note := opts.memory.read(ctx, memoryOpts)
	clusterOpts := valid.cluster()
	clusterOpts.Remembered, clusterOpts.Answered = remembered.Remembered, remembered.Answered()
	c := cluster.New(clusterOpts)
	defer c.Close()
	reserver, err := newReserver(c, &opts.check)
	if err != nil {
		complain(stderr, err)
		return ExitUsage
	}
	var (
		code  int
		shown any
		write func(io.Writer) error
	)
	switch {
	case opts.check.release != "":
		answer := waitForRelease(ctx, reserver, &opts.check, stderr)
		code, shown, write = answer.code(), answer, func(w io.Writer) error { return printRelease(w, &answer) }
	case opts.check.safeToStop == "":
		view := checkStatus(ctx, c, remembered, &opts.check)
		if view.Memory = note; c.RemembersAnother() {
			view.Memory = othersMemory
		}
		code, shown, write = LevelCodes[view.Level], view, func(w io.Writer) error { return printStatus(w, &view) }
		if opts.check.only == onlyServices {
			code, shown = LevelCodes[view.Services.Level], view.ServicesOnly()
			write = func(w io.Writer) error { return printServices(w, &view) }
		}
	default:
		answer := waitForStop(ctx, c, reserver, &opts.check, stderr)
		if answer.Memory = note; c.RemembersAnother() {
			answer.Memory = othersMemory
		}
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

// stopAnswer is what --safe-to-stop answers, and in this form as JSON.
type stopAnswer struct {
	Time time.Time `json:"time"`
	verdict.Stop
	// Error is why nothing could be judged; then the rest means nothing, safe is false, and the answer is unknown.
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
	waitUntil(ctx, opts.wait, stderr, func() (done bool, why string) {
		answer = checkStop(ctx, c, r, opts)
		return answer.code() == ExitSafe, cmp.Or(answer.Error, strings.Join(answer.Reasons, " "))
	})
	return answer
}

// waitUntil asks until that is done, or until the time to wait is over.
func waitUntil(ctx context.Context, wait time.Duration, stderr io.Writer, ask func() (done bool, why string)) {
	deadline := time.Now().Add(wait)
	said := ""
	for {
		began := time.Now()
		done, why := ask()
		if done || time.Now().Add(checkPause).After(deadline) {
			return
		}
		if why != said {
			said = why
			printWaiting(stderr, began, why)
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

// releaseAnswer is what --release answers, and in this form as JSON.
type releaseAnswer struct {
	Time   time.Time `json:"time"`
	Server string    `json:"server"`
	// Released is whether the server is back and has no reservation anymore.
	Released bool           `json:"released"`
	Answer   verdict.Answer `json:"answer"`
	Reason   string         `json:"reason"`
}

func (a *releaseAnswer) code() int { return answerCodes[a.Answer] }

// waitForRelease tries to release the server's reservation until the server is back, or until the time to wait is over.
func waitForRelease(ctx context.Context, r *reserver, opts *checkOptions, stderr io.Writer) (answer releaseAnswer) {
	waitUntil(ctx, opts.wait, stderr, func() (done bool, why string) {
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
