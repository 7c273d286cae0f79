// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package responder

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// startGroup starts a program with a child, in a group of its own, of which only the child is left.
func startGroup(t *testing.T) *Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 600 & read line")
	ownGroup(cmd)
	in := must.Get(cmd.StdinPipe())(t)
	must.Do(t, cmd.Start())
	p := newProcess(cmd.Process.Pid)
	t.Cleanup(func() { _ = p.kill() })
	must.Do(t, in.Close())
	_ = cmd.Wait() // read has failed.
	if !p.alive() {
		t.Fatal("the child is taken for ended")
	}
	return p
}

// killed is the fixture after the responder was killed in the middle of an action that had started this program.
func killed(b *fixture, p *Process) {
	b.t.Helper()
	b.rules[0].Cooldown = time.Second
	b.during = func() {
		open := b.ledger.open[1]
		open.Process = p
		must.Do(b.t, b.history.add(open))
		for _, file := range []string{b.config.File, b.config.actionsPath()} {
			must.Do(b.t, os.WriteFile(file+"-killed", must.Get(os.ReadFile(file))(b.t), 0o600))
		}
	}
	b.deliver(b.alert("server-2", time.Minute))
	must.Do(b.t, b.Close())
	for _, file := range []string{b.config.File, b.config.actionsPath()} {
		must.Do(b.t, os.Rename(file+"-killed", file))
	}
	b.during, b.runs = nil, nil
	b.wait(10 * time.Second)
	b.restart()
}

// A program that outlives its responder is waited for before another one starts.
func TestSurvivor_WaitedFor(t *testing.T) {
	p := startGroup(t) // Before other tests run in parallel.
	b := newFixture(t)
	killed(b, p)
	b.checkSurvivors()
	b.deliver(b.alert("server-3", 0))
	b.expect(nil, ResultStarted, ResultRefused)
	b.expectReason("A program from before a restart is under way (process group ")
	must.Do(t, p.kill())
	for deadline := time.Now().Add(30 * time.Second); len(b.survivors) > 0; <-time.After(10 * time.Millisecond) {
		if b.checkSurvivors(); time.Now().After(deadline) {
			t.Fatal("the program is taken to run")
		}
	}
	b.deliver(b.alert("server-3", 0), b.alert("server-2", time.Minute))
	b.expect([]string{"server-3"}, ResultUnknown, ResultRefused, ResultDone)
}

// At its time limit it is ended.
func TestSurvivor_Ended(t *testing.T) {
	p := startGroup(t) // Before other tests run in parallel.
	b := newFixture(t)
	killed(b, p)
	b.wait(49 * time.Second)
	b.checkSurvivors()
	if !p.alive() || len(b.survivors) != 1 {
		t.Fatal("it was ended before its time limit")
	}
	b.wait(time.Second)
	b.checkSurvivors()
	b.expect(nil, ResultTimeout)
	b.expectReason("the program outlived the responder, and was killed at its time limit")
	b.deliver(b.alert("server-3", 0))
	b.expect([]string{"server-3"}, ResultTimeout, ResultDone)
}

// A process that only has the number is another one, and nobody waits for what has ended.
func TestSurvivor_Other(t *testing.T) {
	for name, change := range map[string]func(*Process){
		"a later process": func(p *Process) { p.Start = p.Start[:strings.IndexByte(p.Start, '/')] + "/1" },
		"another boot":    func(p *Process) { p.Start = "x" + p.Start },
	} {
		t.Run(name, func(t *testing.T) {
			p := startGroup(t)
			b := newFixture(t)
			other := *p
			other.Group = os.Getpid()
			change(&other)
			killed(b, &other)
			b.deliver(b.alert("server-3", 0))
			b.expect([]string{"server-3"}, ResultUnknown, ResultDone)
		})
	}
}
