// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package inputs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
)

const (
	// lookPause lies between two looks at the servers' logs. Raft replicates within milliseconds, and a leader is heard
	// of at least once a second (Consul's default raft_multiplier of 5; HashiCorp recommends 1).
	lookPause = time.Second
	// maxLooks bounds how often servers are asked that are behind what the leader had at the first look.
	maxLooks = 6
)

// Stop is what JudgeStop decides from.
type Stop struct {
	Topology  cluster.Topology
	Reports   []cluster.Report
	Autopilot *cluster.AutopilotState // Nil when it is not known.
	// MaxTrailingLogs is how many entries a voter may lag behind: autopilot's own setting, or its default.
	MaxTrailingLogs uint64
	// MinQuorum is the number of servers below which autopilot removes none; nil if its settings are not known.
	MinQuorum *uint
	// Earlier are the reports of a first look, of which Reports are the second one: at least Between lies between the
	// end of the one and the beginning of the other. It is empty if there was only one look.
	Earlier []cluster.Report
	Between time.Duration
	// Consistent is how a linearizable read went; nil if it could not be made, which says nothing about the cluster.
	Consistent *cluster.ConsistentRead
	// CatchUp is whether a server that was away could still catch up; nil if the telemetry of the leader is not known.
	CatchUp *CatchUp
	// Stopping are other servers that somebody has announced to stop.
	Stopping []StoppingServer
}

// StoppingServer is a server that is about to be stopped, or is.
type StoppingServer struct{ Name, ID string }

// Is reports whether both are the same server: by ID where both are known.
func (s StoppingServer) Is(other StoppingServer) bool {
	if s.ID != "" && other.ID != "" {
		return s.ID == other.ID
	}
	return s.Name == other.Name
}

// Evidence is what there is for a verdict about the cluster.
func (in *Stop) Evidence() *Evidence {
	return &Evidence{Topology: in.Topology, Reports: in.Reports, Autopilot: in.Autopilot}
}

// DefaultMaxTrailingLogs is autopilot's default (Consul: agent/config/default.go).
const DefaultMaxTrailingLogs = 250

// ForStop collects what JudgeStop needs. It fails if no server is known, or Consul does not say which have a vote. It
// takes a second at least: it looks twice, because one look does not show whether the logs keep up.
func ForStop(ctx context.Context, s *cluster.Snapshot) (Stop, error) {
	topology, reports, config, members := s.Topology(), s.Reports(), s.RaftPeers(), s.Members()
	read, agent := s.ConsistentRead(), s.Agent()
	if _, err := config.Get(ctx); errors.Is(err, consul.ErrRefused) {
		return Stop{}, fmt.Errorf("find out which servers have a vote (may the token read operator?): %w", err)
	}
	in := Stop{MaxTrailingLogs: DefaultMaxTrailingLogs}
	if err := cmp.Or(fill(ctx, topology, &in.Topology), fill(ctx, reports, &in.Earlier)); err != nil {
		return Stop{}, err
	}
	// Where this look fails, the topology has what an earlier one saw. No stop is decided by that.
	latest, _ := members.Get(ctx)
	peers, _ := config.Get(ctx)
	in.Topology.MembersKnown, in.Topology.RaftKnown = slices.ContainsFunc(latest, cluster.Member.Server), len(peers) > 0
	ofLeader := byLeader(ctx, s, &in)
	lookAgain(ctx, s, &in)
	ofLeader()
	if result, err := read.Get(ctx); err == nil {
		in.Consistent = &result
	}
	if a, err := agent.Get(ctx); err == nil && a.Leads() {
		if t, err := s.Telemetry().Get(ctx); err == nil {
			in.CatchUp = newCatchUp(&t)
		}
	}
	return in, nil
}

// byLeader starts to ask the leader who has a vote, and its autopilot what it makes of the servers, and returns how to
// wait for the answers. They count, not the agent's own: an agent that hung answers for a moment with what it knew
// before. If nobody leads, no stop is safe, and the agent's own will do. An agent that does not know who leads would
// let the questions hang.
func byLeader(ctx context.Context, s *cluster.Snapshot, in *Stop) (wait func()) {
	if _, ok := OnlyLeader(in.Earlier); !ok {
		autopilot := s.AutopilotState()
		return func() { in.Autopilot = fillIn(ctx, autopilot) }
	}
	known, err := s.StatusLeader().Get(ctx)
	if err != nil || known == "" {
		in.Topology.RaftKnown = false
		return func() {}
	}
	config, autopilot, settings := s.LeaderRaftPeers(), s.LeaderAutopilot(), s.LeaderAutopilotConfig()
	return func() {
		peers, err := config.Get(ctx)
		in.Topology = in.Topology.WithPeers(peers)
		in.Topology.RaftKnown = err == nil && len(peers) > 0
		in.Autopilot = fillIn(ctx, autopilot)
		if known, err := settings.Get(ctx); err == nil {
			in.MaxTrailingLogs, in.MinQuorum = known.MaxTrailingLogs, &known.MinQuorum
		}
	}
}

// lookAgain asks the servers that answered once more, and again while one is behind what the leader had at first.
func lookAgain(ctx context.Context, s *cluster.Snapshot, in *Stop) {
	in.Reports, in.Between = in.Earlier, 0
	ask := s.Again(in.Topology)
	last, began := in.Earlier, time.Now()
	for range maxLooks - 1 {
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		}
		between := time.Since(began)
		var ok bool
		if last, ok = ask(last); !ok {
			return
		}
		in.Reports, in.Between = last, between
		if !slices.ContainsFunc(in.Reports, func(r cluster.Report) bool { return r.RPC.Up && !in.KeepsUp(r) }) {
			return
		}
	}
}

// FirstLeader is what the only server that called itself leader said at the first look; false if there was not exactly
// one.
func (in *Stop) FirstLeader() (leader cluster.Report, ok bool) {
	return OnlyLeader(in.firstLook())
}

// firstLook are the reports of the only look if there was one only.
func (in *Stop) firstLook() []cluster.Report {
	if len(in.Earlier) > 0 {
		return in.Earlier
	}
	return in.Reports
}

// OnlyLeader returns the only report of a server that calls itself leader; false if there are none or several.
func OnlyLeader(reports []cluster.Report) (leader cluster.Report, ok bool) {
	leaders := Leaders(reports)
	if len(leaders) != 1 {
		return cluster.Report{}, false
	}
	return leaders[0], true
}

// Leaders are the reports of the servers that call themselves leader. One address has one voice: of several servers at
// it, that of the living one.
func Leaders(reports []cluster.Report) []cluster.Report {
	var leaders []cluster.Report
	for _, r := range reports {
		if !r.LeadsItself() {
			continue
		}
		i := slices.IndexFunc(leaders, func(l cluster.Report) bool { return l.Server.RPCAddress == r.Server.RPCAddress })
		switch {
		case i < 0:
			leaders = append(leaders, r)
		case r.Server.Status == cluster.StatusAlive:
			leaders[i] = r
		}
	}
	return leaders
}

// KeepsUp reports whether a server has what it takes to commit: Stored and Heard.
func (in *Stop) KeepsUp(r cluster.Report) bool { return in.Stored(r) && in.Heard(r) }

// Stored reports whether a server's log has all that the leader's had at the first look. A server whose disk does not
// write anymore still answers and hears of the leader, and only its log stands still (hashicorp/raft: heartbeats take a
// path of their own, and the last index moves when the entry is stored). One that led before may have more entries, but
// of a lower term: those are not the leader's.
func (in *Stop) Stored(r cluster.Report) bool {
	leader, ok := in.FirstLeader()
	return ok && leader.RPC.Raft.StatsKnown && r.RPC.Raft.StatsKnown &&
		r.RPC.Raft.LastLogIndex >= leader.RPC.Raft.LastLogIndex && r.RPC.Raft.LastLogTerm >= leader.RPC.Raft.LastLogTerm
}

// Heard reports whether a server leads, or has heard of the leader since the first look. If there was only one look, or
// the server did not say anything at the first one, that is not known, and it is true.
func (in *Stop) Heard(r cluster.Report) bool {
	i := slices.IndexFunc(in.Earlier, func(e cluster.Report) bool { return e.Server.RPCAddress == r.Server.RPCAddress })
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

// newCatchUp is nil where the leader does not tell. Consul measures both in milliseconds.
func newCatchUp(t *cluster.Telemetry) *CatchUp {
	age, ageKnown := t.Gauge("raft.leader.oldestLogAge")
	restore, restoreKnown := t.Gauge("raft.fsm.lastRestoreDuration")
	if !ageKnown || !restoreKnown || age <= 0 || restore <= 0 || max(age, restore) > math.MaxInt32*1e3 {
		return nil
	}
	ms := float64(time.Millisecond)
	return &CatchUp{OldestLogAge: time.Duration(age * ms), LastRestore: time.Duration(restore * ms)}
}
