// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/contact"
	"github.com/zervigo/consul_cluster_exporter/internal/panics"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// journal logs what differs from one scrape to the next: the state of the cluster, in the words of the status page, and
// which collectors fail. What follows from something that has a line gets none of its own.
type journal struct {
	logger log.Logger
	memory *memory.Memory
	// parts are what there is to find out, and watched the collectors that do so. A scrape that lacks one of them tells
	// nothing about the cluster; none are watched if the exporter lacks one.
	parts   status.Parts
	watched []string

	mu    sync.Mutex
	watch status.Watch // Guarded by mu.
	// failing has the collectors that fail, by name. Guarded by mu.
	failing map[string]failure
}

// failure is how a collector fails.
type failure struct {
	kind failureKind
	// cause is the alert about what it follows from; then the log has that and not the failure.
	cause string
}

// causeLate stands for the cause of a failure in a single scrape, if answers were late: the log has it when it is the
// same in the next one.
const causeLate = "late"

type failureKind int

const (
	failed failureKind = iota
	tooLarge
	denied
	blocked
	unsupported
)

// agentName, portsName and raftName are the collectors that find out most of what is logged about the cluster.
const (
	agentName = "agent"
	portsName = "ports"
	raftName  = "raft"
)

func newJournal(logger log.Logger, remembered *memory.Memory, collectors []namedCollector) *journal {
	if logger == nil {
		logger = log.NewNopLogger()
	}
	j := &journal{logger: logger, memory: remembered, failing: make(map[string]failure)}
	enabled := func(name string) bool {
		return slices.ContainsFunc(collectors, func(c namedCollector) bool { return c.name == name })
	}
	j.parts = status.Parts{ForLog: true, ConsistentRead: enabled(consistentName), NoPorts: !enabled(portsName)}
	if enabled(agentName) && enabled(raftName) {
		j.watched = slices.DeleteFunc([]string{agentName, portsName, raftName}, func(name string) bool {
			return !enabled(name)
		})
	}
	return j
}

// write logs what a scrape has changed. One that was in a hurry and ran out of time only says which collectors do not
// fail any more.
func (j *journal) write(ctx context.Context, snap *cluster.Snapshot, ended []outcome, hurried bool) {
	var changes []status.Change
	var verdict string
	err := panics.Try(func() error {
		if !hurried && j.watches(ended) {
			changes, verdict = j.see(ctx, snap)
		}
		return nil
	})
	if err != nil {
		level.Error(j.logger).Log("msg", "the log could not tell what has changed", "err", oneLine(err))
	}
	for i, c := range changes {
		logger := log.WithSuffix(j.logger, append([]any{"change", c.What, "state", c.State}, c.Details...)...)
		if i == 0 && c.Text != verdict {
			logger = log.WithSuffix(logger, "verdict", verdict)
		}
		if c.Bad {
			level.Warn(logger).Log("msg", c.Text)
		} else {
			level.Info(logger).Log("msg", c.Text)
		}
	}
	complete, begun := j.compare(ended, hurried)
	if len(complete) > 0 {
		level.Info(j.logger).Log("msg", "collectors are complete again", "collectors", strings.Join(complete, ","))
	}
	for _, g := range begun {
		g.log(j.logger)
	}
}

// watches reports whether a scrape has all of the collectors that find out what is logged about the cluster.
func (j *journal) watches(ended []outcome) bool {
	return len(j.watched) > 0 && !slices.ContainsFunc(j.watched, func(name string) bool {
		return !slices.ContainsFunc(ended, func(o outcome) bool { return o.name == name })
	})
}

// see compares what the collectors have found out about the cluster with what was seen before.
func (j *journal) see(ctx context.Context, snap *cluster.Snapshot) (changes []status.Change, verdict string) {
	over, cancel := context.WithCancel(ctx)
	cancel() // Nothing is waited for.
	facts := status.Gather(over, snap, j.memory, j.parts)
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.watch.See(facts)
}

// failures are collectors that begin to fail in the same way.
type failures struct {
	failure

	collectors []string
	errs       []error
}

// compare returns the collectors that have stopped failing, if the log had it, and those that begin to fail.
func (j *journal) compare(ended []outcome, hurried bool) (complete []string, begun []*failures) {
	j.mu.Lock()
	defer j.mu.Unlock()
	groups := make(map[string]*failures)
	for _, o := range ended {
		before, failing := j.failing[o.name]
		if o.err == nil {
			if failing && before.cause == "" {
				complete = append(complete, o.name)
			}
			delete(j.failing, o.name)
			continue
		}
		now := failure{kind: kindOf(&o)}
		if now.kind == failed { // A refusal explains itself.
			now.cause = j.causeOf(o.err)
		}
		if now == (failure{}) && !failing && errors.Is(o.err, context.DeadlineExceeded) {
			now.cause = causeLate
		}
		if hurried || (failing && (before == now || now.cause != "")) {
			continue
		}
		j.failing[o.name] = now
		key := fmt.Sprint(now)
		if now == (failure{}) {
			key = rootOf(o.err)
		}
		if groups[key] == nil {
			groups[key] = &failures{failure: now}
			begun = append(begun, groups[key])
		}
		groups[key].collectors, groups[key].errs = append(groups[key].collectors, o.name), append(groups[key].errs, o.err)
	}
	return complete, begun
}

// causeOf is the alert that explains each part of an error; empty if one of them is not explained.
func (j *journal) causeOf(err error) (cause string) {
	for _, part := range leaves(err) {
		if cause = j.watch.Cause(part); cause == "" {
			return ""
		}
	}
	return cause
}

func kindOf(o *outcome) failureKind {
	switch {
	case o.refused() && consul.IsDenied(o.err):
		return denied
	case o.refused() && consul.IsBlocked(o.err):
		return blocked
	case o.refused():
		return unsupported
	case errors.As(o.err, new(consul.TooLargeError)):
		return tooLarge
	default:
		return failed
	}
}

// maxRepeated is how often a line has the same reason, each time with what could not be read.
const maxRepeated = 3

// log writes one line about all of them.
func (g *failures) log(logger log.Logger) {
	err := oneLine(errors.Join(g.errs...))
	if g.failure == (failure{}) && strings.Count(err, rootOf(g.errs[0])) > maxRepeated {
		err = rootOf(g.errs[0])
	}
	logger = log.WithSuffix(logger, "collectors", strings.Join(g.collectors, ","), "err", err)
	switch {
	case g.cause != "":
		level.Debug(logger).Log("msg", "collectors fail, which follows from what another line has", "cause", g.cause)
	case g.kind == denied:
		level.Warn(logger).Log("msg", "the token cannot read everything, some metrics are absent", "do", contact.GiveToken)
	case g.kind == blocked:
		level.Warn(logger).Log("msg", "the agent blocks what collectors read (http_config.block_endpoints)")
	case g.kind == unsupported:
		level.Info(logger).Log("msg", "this Consul does not have what collectors read")
	default:
		level.Error(logger).Log("msg", "collectors failed, some metrics are absent")
	}
}

// rootOf is an error without what was to be read: that is the same for all that fail for the same reason.
func rootOf(err error) string {
	var roots []string
	for _, e := range leaves(err) {
		text := e.Error()
		if request, ok := errors.AsType[*url.Error](e); ok {
			text = request.Err.Error()
		} else if inner := errors.Unwrap(e); inner != nil {
			text = inner.Error()
		}
		if !slices.Contains(roots, text) {
			roots = append(roots, text)
		}
	}
	return strings.Join(roots, "; ")
}

// leaves are the errors that were joined.
func leaves(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

// oneLine joins errors in a log line, each text once: facts that depend on the same one fail with the same error.
func oneLine(err error) string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
