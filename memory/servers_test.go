// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

// A world is a cluster as scrapes see it. What a memory remembers is joined with it as cluster.Snapshot does that.
type world struct {
	*testing.T

	m       *Memory
	at      time.Time
	agent   cluster.Agent
	quorum  uint // Autopilot's min_quorum.
	servers map[int]cluster.Server
	lost    map[int]bool    // Their port 8300 does not answer.
	foreign map[string]bool // By node ID: they only gossip with the others.
	raft    bool
}

func newWorld(t *testing.T, m *Memory, voters ...int) *world {
	t.Helper()
	w := &world{
		T: t, m: m, at: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), raft: true,
		servers: make(map[int]cluster.Server), lost: make(map[int]bool), foreign: make(map[string]bool),
	}
	w.join(voters...)
	return w
}

func (w *world) join(ids ...int) {
	for _, i := range ids {
		w.servers[i] = reporttest.Server(i)
	}
}

func (w *world) remove(ids ...int) {
	for _, i := range ids {
		delete(w.servers, i)
	}
}

// become changes the state of servers in Serf.
func (w *world) become(status cluster.MemberStatus, ids ...int) {
	for _, i := range ids {
		s := w.servers[i]
		s.Status = status
		w.servers[i] = s
	}
}

// scrape makes n scrapes, every d.
func (w *world) scrape(n int, d time.Duration) {
	for range n {
		w.at = w.at.Add(d)
		w.look()
	}
}

// look makes a scrape now. The server with the lowest number leads.
func (w *world) look() {
	t := cluster.Topology{MembersKnown: true, RaftKnown: w.raft}
	var reports []cluster.Report
	leader := 0
	for i := range 20 {
		s, ok := w.servers[i]
		if !ok {
			continue
		}
		t.Servers = append(t.Servers, s)
		if w.raft && !w.foreign[s.ID] {
			t.Peers = append(t.Peers, cluster.RaftPeer{ID: s.ID, Address: s.RPCAddress, Voter: s.Voter})
		}
		if w.lost[i] {
			reports = append(reports, reporttest.Silent(s))
			continue
		}
		if leader == 0 {
			leader = i
		}
		reports = append(reports, reporttest.Says(s, leader, len(w.servers), 10))
	}
	for i := range reports {
		raft := &reports[i].RPC.Raft
		if raft.Peers = nil; w.foreign[reports[i].Server.ID] {
			raft.Peers = []string{reports[i].Server.RPCAddress}
			continue
		}
		for _, p := range t.Peers {
			raft.Peers = append(raft.Peers, p.Address)
		}
	}
	for _, s := range w.m.Remembered() {
		if slices.ContainsFunc(t.Servers, func(named cluster.Server) bool {
			return named.ID == s.ID || named.Name == s.Name
		}) {
			continue
		}
		if s.Absence == nil && w.raft {
			s.Absence = &cluster.Absence{How: cluster.DepartureOf(s.Status), Since: w.at}
		}
		if s.Absence == nil {
			s.Status = cluster.StatusNone
		}
		t.Servers = append(t.Servers, s)
	}
	w.m.Learn(&inputs.Evidence{At: w.at, Topology: t, Reports: reports, Agent: &w.agent, MinQuorum: w.quorum})
}

// expect compares what is expected, and which servers are missing: "3 removed".
func (w *world) expect(when string, want Shortage, missing ...string) {
	w.Helper()
	var got []string
	for _, s := range w.m.Remembered() {
		if s.Missing() {
			got = append(got, strings.TrimPrefix(s.ID, "id-")+" "+string(s.Absence.How))
		}
	}
	slices.Sort(got)
	if v := w.m.Shortage(); v != want || !slices.Equal(got, missing) {
		w.Errorf("%s: %+v, missing %q; want %+v and %q", when, v, got, want, missing)
	}
}

const often, hour = time.Minute, 60 // An hour has 60 scrapes.

func TestMemory_Missing(t *testing.T) {
	t.Parallel()
	three := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, new(Memory), 1, 2, 3)
		w.scrape(2*hour, often)
		w.expect("at first", Shortage{3, 0})
		return w
	}
	t.Run("removed after it failed, and back", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.become(cluster.StatusFailed, 3)
		w.scrape(1, often)
		w.expect("while it is a peer", Shortage{3, 0})
		w.remove(3)
		w.scrape(1, often)
		w.expect("removed", Shortage{3, 1}, "3 removed")
		since := w.m.Remembered()[0].Absence.Since
		if !since.Equal(w.at) {
			t.Errorf("missing since %v; want %v", since, w.at)
		}
		w.scrape(10*24*hour, often)
		w.expect("ten days later", Shortage{3, 1}, "3 removed")
		if again := w.m.Remembered()[0].Absence.Since; !again.Equal(since) {
			t.Errorf("missing since %v; want %v as before", again, since)
		}
		w.join(3)
		w.scrape(1, often)
		w.expect("back", Shortage{3, 0})
	})
	t.Run("hung before it was removed", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.lost[3] = true
		w.scrape(1, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("removed", Shortage{3, 1}, "3 removed")
	})
	t.Run("nobody saw how", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(3)
		w.scrape(4*24*hour, often)
		w.expect("four days later", Shortage{3, 1}, "3 gone")
	})
	t.Run("left in order", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.become(cluster.StatusLeaving, 3)
		w.scrape(1, often)
		w.become(cluster.StatusFailed, 3) // It ends before it has left.
		w.scrape(1, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("left", Shortage{3, 1}, "3 left")
		w.scrape(3*24*hour-2, often)
		w.expect("just before three days", Shortage{3, 1}, "3 left")
		w.scrape(2, often)
		w.expect("after three days", Shortage{2, 0})
	})
	t.Run("gave up its vote, and left", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.servers[3] = reporttest.NonVoter(w.servers[3])
		w.scrape(1, often)
		w.become(cluster.StatusLeaving, 3)
		w.scrape(2, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("left", Shortage{3, 1}, "3 left")
		if s := w.m.Remembered()[0]; !s.Absence.Voter {
			t.Errorf("it had no vote: %+v", s)
		}
		w.scrape(3*24*hour, often)
		w.expect("after three days", Shortage{2, 0})
	})
	t.Run("lost its vote long before it went", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.servers[3] = reporttest.NonVoter(w.servers[3])
		w.scrape(10, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("gone", Shortage{3, 1}, "3 gone")
		if s := w.m.Remembered()[0]; s.Absence.Voter {
			t.Errorf("it had a vote: %+v", s)
		}
	})
	t.Run("forced to leave after it hung", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.lost[3] = true
		w.scrape(1, often)
		w.become(cluster.StatusLeaving, 3)
		w.scrape(1, often)
		w.remove(3)
		w.scrape(4*24*hour, often)
		w.expect("four days later", Shortage{3, 1}, "3 removed")
	})
	t.Run("began to leave, and stayed", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.become(cluster.StatusLeaving, 3)
		w.scrape(1, often)
		w.become(cluster.StatusAlive, 3)
		w.scrape(1, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("gone", Shortage{3, 1}, "3 gone")
	})
	t.Run("rebuilt under its name between two scrapes", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, new(Memory), 1, 2, 3, 4, 5)
		w.agent.BootstrapExpect = 3
		w.scrape(2*hour, often)
		rebuilt := w.servers[5]
		rebuilt.ID = "id-15"
		w.servers[5] = rebuilt
		w.scrape(1, often)
		w.expect("rebuilt", Shortage{5, 0})
		w.become(cluster.StatusFailed, 4)
		w.scrape(1, often)
		w.remove(4)
		w.scrape(hour, often)
		w.expect("another one removed", Shortage{5, 1}, "4 removed")
		w.remove(5)
		w.scrape(1, often)
		w.expect("gone", Shortage{5, 2}, "15 gone", "4 removed")
		w.join(6, 7)
		w.scrape(1, often)
		w.expect("both replaced", Shortage{5, 0})
	})
	t.Run("replaced by a later voter", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(2, 3)
		w.scrape(1, often)
		w.join(4)
		w.scrape(1, often)
		w.expect("one replaced", Shortage{3, 1}, "2 gone")
		w.join(5)
		w.scrape(1, often)
		w.expect("both", Shortage{3, 0})
	})
	t.Run("a server without a vote replaces none, until it gets one", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(3)
		w.scrape(1, often)
		w.servers[4] = reporttest.NonVoter(reporttest.Server(4))
		w.scrape(5, often)
		w.expect("without a vote", Shortage{3, 1}, "3 gone")
		w.join(4)
		w.scrape(1, often)
		w.expect("with it", Shortage{3, 0})
	})
	t.Run("one that returns does not fill the gap of another", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.join(4, 5)
		w.scrape(30*hour, often)
		w.remove(2, 3)
		w.scrape(1, often)
		w.expect("two are gone", Shortage{5, 2}, "2 gone", "3 gone")
		w.servers[3] = reporttest.NonVoter(reporttest.Server(3))
		w.scrape(1, often)
		w.join(3)
		w.scrape(1, often)
		w.expect("one is back", Shortage{5, 1}, "2 gone")
	})
	t.Run("blue and green", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.agent.BootstrapExpect = 3
		w.join(4, 5, 6)
		w.scrape(2*hour, often)
		w.expect("both", Shortage{6, 0})
		w.remove(1)
		w.scrape(1, often)
		w.remove(2, 3)
		w.scrape(1, often)
		w.expect("green", Shortage{3, 0})
		w.remove(6)
		w.scrape(1, often)
		w.expect("one of green is gone", Shortage{3, 1}, "6 gone")
	})
	t.Run("blue and green in less than an hour", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.join(4, 5, 6)
		w.scrape(30, often)
		w.remove(1, 2, 3)
		w.scrape(1, often)
		w.expect("green", Shortage{3, 0})
	})
	t.Run("fewer than Consul is configured to have are not green", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.agent.BootstrapExpect, w.quorum = 3, 4
		w.join(4)
		w.scrape(2*hour, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("three of four", Shortage{4, 1}, "3 gone")
	})
	t.Run("an old voter replaces none", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.agent.BootstrapExpect = 3
		w.join(4, 5)
		w.scrape(25*hour, often)
		w.remove(3)
		w.scrape(1, often)
		w.expect("a day later", Shortage{5, 1}, "3 gone")
	})
	t.Run("without a vote", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.servers[4] = reporttest.NonVoter(reporttest.Server(4))
		w.scrape(1, often)
		w.remove(4)
		w.scrape(1, often)
		w.expect("gone", Shortage{3, 0}, "4 gone")
		w.scrape(3*24*hour, often)
		w.expect("after three days", Shortage{3, 0})
	})
	t.Run("while the Raft configuration is unknown nobody is gone", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.raft = false
		w.remove(2, 3)
		w.scrape(5, often)
		w.expect("unknown", Shortage{3, 0})
	})
	t.Run("the clock jumps", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.become(cluster.StatusLeaving, 3)
		w.scrape(1, often)
		w.remove(3)
		w.scrape(1, often)
		for _, jump := range []time.Duration{4 * 24 * time.Hour, -8 * 24 * time.Hour, 365 * 24 * time.Hour} {
			w.scrape(1, jump)
			w.scrape(1, often)
			w.expect(jump.String(), Shortage{3, 1}, "3 left")
		}
	})
	t.Run("the clock was ahead", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.at = w.at.Add(96 * time.Hour)
		w.remove(3)
		w.scrape(2, often)
		w.at = w.at.Add(-96 * time.Hour)
		w.scrape(1, often)
		w.expect("set back", Shortage{3, 1}, "3 gone")
		if since := w.m.Remembered()[0].Absence.Since; since.After(w.at) {
			t.Errorf("missing since %v; now it is %v", since, w.at)
		}
	})
	t.Run("a scrape that began earlier ends later", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(3)
		w.scrape(1, often)
		w.join(3)
		w.scrape(1, -10*time.Second)
		w.expect("gone", Shortage{3, 1}, "3 gone")
	})
	t.Run("dismissed by ID", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(3)
		w.scrape(1, often)
		if got := w.m.Forget("id-1", "id-3", "nobody"); !slices.Equal(got, []string{"id-3"}) {
			t.Errorf("forgotten: %q; want the missing one", got)
		}
		w.scrape(1, often)
		w.expect("forgotten", Shortage{2, 0})
	})
	t.Run("dismissed by a file", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, New(Options{Dismissed: func() []string { return []string{"id-3"} }}), 1, 2, 3)
		w.scrape(2*hour, often)
		w.remove(2, 3)
		w.scrape(1, often)
		w.expect("gone", Shortage{2, 1}, "2 gone")
	})
	t.Run("dismissed by number", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, New(Options{ExpectedVoters: 3}), 1, 2, 3, 4, 5)
		w.scrape(2*hour, often)
		w.remove(5)
		w.scrape(1, often)
		w.expect("four of three", Shortage{3, 0})
		w.remove(3, 4)
		w.scrape(1, often)
		w.expect("two of three", Shortage{3, 1}, "3 gone", "4 gone")
	})
	t.Run("another cluster", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.remove(1, 2, 3)
		w.join(11, 12, 13)
		w.scrape(1, often)
		w.expect("empty", Shortage{3, 0})
		if n := len(w.m.Remembered()); n != 3 {
			t.Errorf("%d servers are remembered; want those of the new cluster", n)
		}
	})
	t.Run("gossip pools merged for a while", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		w.servers[11], w.foreign["id-11"] = reporttest.NonVoter(reporttest.Server(11)), true
		w.scrape(5, often)
		w.remove(11)
		w.scrape(1, often)
		w.expect("apart again", Shortage{3, 0})
	})
	t.Run("what failed long ago is not learned", func(t *testing.T) {
		t.Parallel()
		w := three(t)
		s := reporttest.NonVoter(reporttest.Server(9))
		s.Status = cluster.StatusFailed
		w.m.learnServer(s, &inputs.Evidence{At: w.at, Topology: cluster.Topology{RaftKnown: true}})
		if n := len(w.m.Remembered()); n != 3 {
			t.Errorf("%d servers are remembered; want 3", n)
		}
	})
}

func TestMemory_Expected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, new(Memory), 1, 2, 3, 4, 5)
	w.expect("before the first scrape", Shortage{})
	w.agent.BootstrapExpect = 3
	w.scrape(30, often)
	w.expect("at first", Shortage{3, 0})
	w.lost[1], w.lost[2], w.lost[3] = true, true, true
	w.scrape(2*hour, often)
	w.expect("without the quorum", Shortage{3, 0})
	clear(w.lost)
	w.scrape(28, often)
	w.expect("after 58 minutes with it", Shortage{3, 0})
	w.scrape(5, often)
	w.expect("after an hour", Shortage{5, 0})

	w = newWorld(t, new(Memory), 1, 2, 3)
	w.scrape(1, often)
	w.expect("without bootstrap_expect", Shortage{3, 0})
	w.scrape(1, 10*time.Hour)
	w.join(4, 5)
	w.scrape(1, often)
	w.scrape(11, 24*time.Hour)
	w.expect("long pauses count five minutes each", Shortage{3, 0})
	w.scrape(1, 24*time.Hour)
	w.expect("twelve of them are an hour", Shortage{5, 0})
}

func TestMemory_Bounded(t *testing.T) {
	t.Parallel()
	m := new(Memory)
	for i := range 2 * MaxServers {
		s := reporttest.Server(i)
		m.Learn(&inputs.Evidence{At: time.Unix(int64(i), 0), Topology: cluster.Topology{Servers: []cluster.Server{s}}})
	}
	if n := len(m.Remembered()); n != MaxServers {
		t.Errorf("%d servers are remembered; want %d", n, MaxServers)
	}
}
