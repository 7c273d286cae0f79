// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

const (
	// lookPause lies between two looks at the servers' logs. Raft replicates within milliseconds, and a leader is heard
	// of at least once a second (Consul's default raft_multiplier of 5; HashiCorp recommends 1).
	lookPause = time.Second
	// maxLooks bounds how often servers are asked that are behind what the leader had at the first look.
	maxLooks = 6
)

// StopInput collects what JudgeStop needs. It fails if no server is known, or Consul does not say which have a vote.
// It takes a second at least: it looks twice, because one look does not show whether the logs keep up.
func (s *Snapshot) StopInput(ctx context.Context) (StopInput, error) {
	topology, reports, config, members := s.Topology(), s.Reports(), s.RaftPeers(), s.Members()
	autopilot, autopilotConfig := s.AutopilotState(), s.AutopilotConfig()
	read, agent := s.ConsistentRead(), s.Agent()
	if _, err := config.Get(ctx); errors.Is(err, consul.ErrRefused) {
		return StopInput{}, fmt.Errorf("find out which servers have a vote (may the token read operator?): %w", err)
	}
	in := StopInput{MaxTrailingLogs: DefaultMaxTrailingLogs}
	if err := cmp.Or(fill(ctx, topology, &in.Topology), fill(ctx, reports, &in.Earlier)); err != nil {
		return StopInput{}, err
	}
	// Where this look fails, the topology has what an earlier one saw. No stop is decided by that.
	latest, _ := members.Get(ctx)
	peers, _ := config.Get(ctx)
	in.Topology.MembersKnown, in.Topology.RaftKnown = hasServer(latest), len(peers) > 0
	s.lookAgain(ctx, &in)
	if state, err := autopilot.Get(ctx); err == nil {
		in.Autopilot = &state
	}
	if config, err := autopilotConfig.Get(ctx); err == nil {
		in.MaxTrailingLogs = config.MaxTrailingLogs
	}
	if result, err := read.Get(ctx); err == nil {
		in.Consistent = &result
	}
	if a, err := agent.Get(ctx); err == nil && a.leads() {
		if t, err := s.Telemetry().Get(ctx); err == nil {
			in.CatchUp = t.catchUp()
		}
	}
	return in, nil
}

// lookAgain asks the servers that answered once more, and again while one is behind what the leader had at first.
func (s *Snapshot) lookAgain(ctx context.Context, in *StopInput) {
	in.Reports, in.Between = in.Earlier, 0
	pl := s.cluster.planner(&s.before, in.Topology, s.KnownAgent())
	last, began := in.Earlier, time.Now()
	for range maxLooks - 1 {
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
		between := time.Since(began)
		last = s.askAgain(pl, last)
		if s.ctx.Err() != nil {
			return
		}
		in.Reports, in.Between = last, between
		if !slices.ContainsFunc(in.Reports, func(r Report) bool { return r.RPC.Up && !in.KeepsUp(r) }) {
			return
		}
	}
}

// askAgain asks port 8300 of the servers that answered. What the others said stays.
func (s *Snapshot) askAgain(pl *planner, before []Report) []Report {
	again := probes{ctx: s.ctx, run: s.cluster.probePort, started: make(map[portKey]*Fact[PortReport])}
	ports := slices.DeleteFunc(pl.rpcs(), func(p Port) bool {
		return !slices.ContainsFunc(before, func(r Report) bool { return r.Server.Name == p.Server && r.RPC.Up })
	})
	after := slices.Clone(before)
	for _, answer := range again.wait(ports) {
		for i := range after {
			if after[i].Server.Name == answer.Server {
				after[i].RPC.Result, after[i].RPC.Raft = answer.Result, answer.raft
			}
		}
	}
	return after
}

// FirstLeader is what the only server that called itself leader said at the first look; false if there was not exactly
// one.
func (in *StopInput) FirstLeader() (leader Report, ok bool) {
	return OnlyLeader(in.firstLook())
}

// firstLook are the reports of the only look if there was one only.
func (in *StopInput) firstLook() []Report {
	if len(in.Earlier) > 0 {
		return in.Earlier
	}
	return in.Reports
}

// OnlyLeader returns the only report of a server that calls itself leader; false if there are none or several.
func OnlyLeader(reports []Report) (leader Report, ok bool) {
	leaders := Leaders(reports)
	if len(leaders) != 1 {
		return Report{}, false
	}
	return leaders[0], true
}

// Leaders are the reports of the servers that call themselves leader. One address has one voice: of several servers at
// it, that of the living one.
func Leaders(reports []Report) []Report {
	var leaders []Report
	for _, r := range reports {
		if !r.LeadsItself() {
			continue
		}
		i := slices.IndexFunc(leaders, func(l Report) bool { return l.Server.RPCAddress == r.Server.RPCAddress })
		switch {
		case i < 0:
			leaders = append(leaders, r)
		case r.Server.Status == StatusAlive:
			leaders[i] = r
		}
	}
	return leaders
}

// KeepsUp reports whether a server has what it takes to commit: Stored and Heard.
func (in *StopInput) KeepsUp(r Report) bool { return in.Stored(r) && in.Heard(r) }

// Stored reports whether a server's log has all that the leader's had at the first look. A server whose disk does not
// write anymore still answers and hears of the leader, and only its log stands still (hashicorp/raft: heartbeats take a
// path of their own, and the last index moves when the entry is stored).
func (in *StopInput) Stored(r Report) bool {
	leader, ok := in.FirstLeader()
	return ok && leader.RPC.Raft.StatsKnown && r.RPC.Raft.StatsKnown &&
		r.RPC.Raft.LastLogIndex >= leader.RPC.Raft.LastLogIndex
}

// Heard reports whether a server leads, or has heard of the leader since the first look. If there was only one look, or
// the server did not say anything at the first one, that is not known, and it is true.
func (in *StopInput) Heard(r Report) bool {
	i := slices.IndexFunc(in.Earlier, func(e Report) bool { return e.Server.RPCAddress == r.Server.RPCAddress })
	if r.LeadsItself() || i < 0 || !in.Earlier[i].RPC.Raft.LastContactKnown {
		return true
	}
	return r.RPC.Raft.LastContactKnown && r.RPC.Raft.LastContact < in.Earlier[i].RPC.Raft.LastContact+in.Between
}

// CatchUp is what the leader's telemetry says about how long a server can be away. One that is away for longer than the
// leader keeps log entries restores a snapshot, and if that takes longer than the entries after it are kept, it never
// catches up (Consul: "Raft Replication Capacity Issues").
type CatchUp struct {
	// OldestLogAge is how old the oldest entry in the leader's log is, and LastRestore how long the last restore took.
	OldestLogAge, LastRestore time.Duration
}

// Short reports whether that is evidence that a server that restarts may never catch up.
func (c CatchUp) Short() bool { return c.OldestLogAge < 2*c.LastRestore }

func (a *Agent) leads() bool { return a.Raft != nil && a.Raft.State == RaftLeader }

// catchUp is nil where the leader does not tell. Consul measures both in milliseconds.
func (t *Telemetry) catchUp() *CatchUp {
	age, ageKnown := t.Gauge("raft.leader.oldestLogAge")
	restore, restoreKnown := t.Gauge("raft.fsm.lastRestoreDuration")
	if !ageKnown || !restoreKnown || age <= 0 || restore <= 0 || max(age, restore) > math.MaxInt32*1e3 {
		return nil
	}
	ms := float64(time.Millisecond)
	return &CatchUp{OldestLogAge: time.Duration(age * ms), LastRestore: time.Duration(restore * ms)}
}
