// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// scrapeAt is when the scrape of a case begins.
var scrapeAt = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// evidenceCase is a row of the table of what is concluded from what.
type evidenceCase struct {
	// evidence is what the exporter sees, in words, of three voters a, b and c if nothing else is said.
	evidence string
	reports  []cluster.Report
	with     func(*inputs.Evidence)
	// quorum and writes are their states, lacks what is lacking, voters how many are answering, lost and unknown, and
	// margin how many more can fail.
	quorum QuorumState
	writes WritesState
	lacks  string
	voters [3]int
	margin string
	// leaders are the servers that count as leading.
	leaders []string
}

// Short forms of what the three servers report; d is another one.
var (
	a, b, c  = reporttest.Server(1), reporttest.Server(2), reporttest.Server(3)
	d        = reporttest.NonVoter(reporttest.Server(4))
	noAnswer = reporttest.Silent
)

func says(s cluster.Server, leader int) cluster.Report { return reporttest.Says(s, leader, 3, 10) }

// at returns the report with a log that ends at this entry.
func at(r cluster.Report, index uint64) cluster.Report {
	r.RPC.Raft.LastLogIndex = index
	return r
}

// heard returns the report of a server that heard of the leader so long ago.
func heard(r cluster.Report, ago time.Duration) cluster.Report {
	r.RPC.Raft.LastContactKnown, r.RPC.Raft.LastContact = true, ago
	return r
}

// withPeers returns the report of a server whose Raft configuration has these.
func withPeers(r cluster.Report, peers ...cluster.Server) cluster.Report {
	r.RPC.Raft.Peers = nil
	for _, p := range peers {
		r.RPC.Raft.Peers = append(r.RPC.Raft.Peers, p.RPCAddress)
	}
	return r
}

// removed returns a server that was taken out of the cluster.
func removed(s cluster.Server) cluster.Server {
	s.Status, s.Absence = cluster.StatusNone, &cluster.Absence{How: cluster.DepartureRemoved, Since: scrapeAt}
	return s
}

// hanging returns the report of a server that accepts connections and does not answer.
func hanging(s cluster.Server) cluster.Report {
	r := noAnswer(s)
	r.RPC.Phases = []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseRequest}}
	return r
}

// turnedAway returns the report of a server that turned the exporter away.
func turnedAway(s cluster.Server) cluster.Report {
	r := noAnswer(s)
	r.RPC.Reason, r.RPC.Err = probe.ReasonCertificate, errors.New("the server wants a client certificate")
	return r
}

func reports(all ...cluster.Report) []cluster.Report { return all }

// readThrough has a linearizable read succeed through an agent whose leader has this address.
func readThrough(leader string) func(*inputs.Evidence) {
	return func(e *inputs.Evidence) { e.Read, e.AgentLeader = &cluster.ConsistentRead{OK: true}, &leader }
}

// readElsewhere has the asked agent know of no leader, and a linearizable read succeed through another agent, whose
// leader has this address.
func readElsewhere(leader string) func(*inputs.Evidence) {
	return func(e *inputs.Evidence) {
		e.Read, e.AgentLeader = &cluster.ConsistentRead{OK: true, Leader: leader}, new("")
	}
}

// agentSays has the asked agent say who leads, empty for nobody, and the read fail.
func agentSays(leader string) func(*inputs.Evidence) {
	return func(e *inputs.Evidence) { e.Read, e.AgentLeader = &cluster.ConsistentRead{}, &leader }
}

// agentWaits has the asked agent be a, which has no Raft configuration and knows no leader.
func agentWaits(e *inputs.Evidence) {
	e.Agent = &cluster.Agent{Name: a.Name, Server: true, BootstrapExpect: 3, Raft: &cluster.RaftStats{}}
	agentSays("")(e)
}

// standing has the leader's commit index stand still for so long.
func standing(scrapes int, still time.Duration) func(*inputs.Evidence) {
	return func(e *inputs.Evidence) {
		e.Standing = inputs.Standing{Since: e.At.Add(-still), Scrapes: scrapes}
	}
}

// healthyInAutopilot has autopilot call this server healthy.
func healthyInAutopilot(s cluster.Server) func(*inputs.Evidence) {
	return func(e *inputs.Evidence) {
		e.Autopilot = &cluster.AutopilotState{Servers: []cluster.AutopilotServer{
			{Name: s.Name, ID: s.ID, Alive: true, Healthy: true, LastContact: new(time.Duration)},
		}}
	}
}

func wantsCertificate(s cluster.Server) string {
	return " (port 8300 of " + s.Name + " turns the exporter away: it wants a client certificate of Consul's CA: " +
		"--rpc.cert-file, --rpc.key-file)"
}

const unknownMargin = "unknown"

// evidenceTable is the table of what is concluded from what. The docs have it, too.
var evidenceTable = []evidenceCase{
	{
		evidence: "all three answer and follow a", reports: reports(says(a, 1), says(b, 1), says(c, 1)),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{3, 0, 0}, margin: "1", leaders: []string{a.Name},
	},
	{
		evidence: "a and b answer and follow a, c is silent", reports: reports(says(a, 1), says(b, 1), noAnswer(c)),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{2, 1, 0}, margin: "0", leaders: []string{a.Name},
	},
	{
		evidence: "c answers and knows no leader, a and b follow a", reports: reports(says(a, 1), says(b, 1), says(c, 0)),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{3, 0, 0}, margin: "0", leaders: []string{a.Name},
	},
	{
		evidence: "all three follow a, and c's Raft configuration has only c (a wrong peers.json)",
		reports:  reports(says(a, 1), says(b, 1), withPeers(says(c, 1), c)),
		quorum:   QuorumHeld, writes: WritesCommitting, voters: [3]int{3, 0, 0}, margin: "0", leaders: []string{a.Name},
	},
	{
		evidence: "c turns the exporter away, a and b follow a", reports: reports(says(a, 1), says(b, 1), turnedAway(c)),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{2, 0, 1}, margin: unknownMargin,
		leaders: []string{a.Name},
	},
	{
		evidence: "there is no connection to c (a firewall), but autopilot at the leader a calls it healthy",
		reports:  reports(says(a, 1), says(b, 1), noAnswer(c)), with: healthyInAutopilot(c),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{2, 0, 1}, margin: unknownMargin,
		leaders: []string{a.Name},
	},
	{
		evidence: "c accepts the connection and is silent (it hangs), and autopilot at the leader a still calls it healthy",
		reports:  reports(says(a, 1), says(b, 1), hanging(c)), with: healthyInAutopilot(c),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{2, 1, 0}, margin: "0", leaders: []string{a.Name},
	},
	{
		evidence: "all three turn the exporter away, a linearizable read succeeds",
		reports:  reports(turnedAway(a), turnedAway(b), turnedAway(c)), with: readThrough(a.RPCAddress),
		quorum: QuorumHeld, writes: WritesUnknown, voters: [3]int{0, 0, 3}, margin: unknownMargin,
	},
	{
		evidence: "all three are silent for the exporter (a firewall), a linearizable read succeeds",
		reports:  reports(noAnswer(a), noAnswer(b), noAnswer(c)), with: readThrough(a.RPCAddress),
		quorum: QuorumHeld, writes: WritesUnknown, voters: [3]int{0, 0, 3}, margin: unknownMargin,
	},
	{
		evidence: "the agent in use knows no leader, a linearizable read succeeds through another server's agent",
		reports:  reports(turnedAway(a), turnedAway(b), turnedAway(c)), with: readElsewhere(a.RPCAddress),
		quorum: QuorumHeld, writes: WritesUnknown, voters: [3]int{0, 0, 3}, margin: unknownMargin,
	},
	{
		evidence: "all three turn the exporter away, and no read was made",
		reports:  reports(turnedAway(a), turnedAway(b), turnedAway(c)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{0, 0, 3}, margin: unknownMargin,
		lacks: "3 voters are unknown" + wantsCertificate(a),
	},
	{
		evidence: "a linearizable read succeeds through an agent whose leader is none of the voters",
		reports:  reports(turnedAway(a), turnedAway(b), turnedAway(c)), with: readThrough("10.9.9.9:8300"),
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{0, 0, 3}, margin: unknownMargin,
		lacks: "3 voters are unknown" + wantsCertificate(a),
	},
	{
		evidence: "c answers and knows no leader, a and b are silent", reports: reports(noAnswer(a), noAnswer(b), says(c, 0)),
		quorum: QuorumLost, writes: WritesUnknown, voters: [3]int{1, 2, 0}, margin: "-1",
	},
	{
		evidence: "b has just heard of the leader a, a and c are silent, and a server without a vote knows no leader",
		reports:  reports(noAnswer(a), heard(says(b, 1), time.Second), noAnswer(c), says(d, 0)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{1, 2, 0}, margin: unknownMargin,
		lacks: "too few voters answer, but server-2 has just heard of a leader, server-1",
	},
	{
		evidence: "the same, but b heard of a 9 s ago",
		reports:  reports(noAnswer(a), heard(says(b, 1), 9*time.Second), noAnswer(c), says(d, 0)),
		quorum:   QuorumLost, writes: WritesUnknown, voters: [3]int{1, 2, 0}, margin: "-1",
	},
	{
		evidence: "all three are silent, and a server that was removed before knows no leader",
		reports:  reports(noAnswer(a), noAnswer(b), noAnswer(c), says(removed(d), 0)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{0, 3, 0}, margin: unknownMargin,
		lacks: "too few voters answer, and none of them says that there is no leader",
	},
	{
		evidence: "c answers and knows no leader, a and b are silent, and a linearizable read succeeds through an agent " +
			"whose leader is none of the voters",
		reports: reports(noAnswer(a), noAnswer(b), says(c, 0)), with: readThrough("10.9.9.9:8300"),
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{1, 2, 0}, margin: unknownMargin,
		lacks: "too few voters answer, but a linearizable read succeeds",
	},
	{
		evidence: "all three are silent, and the agent says that there is no leader",
		reports:  reports(noAnswer(a), noAnswer(b), noAnswer(c)), with: agentSays(""),
		quorum: QuorumLost, writes: WritesUnknown, voters: [3]int{0, 3, 0}, margin: "-2",
	},
	{
		evidence: "a still calls itself leader, b and c are silent", reports: reports(says(a, 1), noAnswer(b), noAnswer(c)),
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{1, 2, 0}, margin: unknownMargin,
		lacks: "too few voters answer, and none of them says that there is no leader", leaders: []string{a.Name},
	},
	{
		evidence: "b and c accept the connection and are silent (they hang), but a linearizable read succeeds",
		reports:  reports(says(a, 1), hanging(b), hanging(c)), with: readThrough(a.RPCAddress),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{1, 0, 2}, margin: unknownMargin,
		leaders: []string{a.Name},
	},
	{
		evidence: "c answers and knows no leader, a is silent, b turns the exporter away",
		reports:  reports(noAnswer(a), turnedAway(b), says(c, 0)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{1, 1, 1}, margin: unknownMargin,
		lacks: "1 voter is unknown" + wantsCertificate(b),
	},
	{
		evidence: "nothing answers, and neither does the agent", reports: reports(noAnswer(a), noAnswer(b), noAnswer(c)),
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{0, 3, 0}, margin: unknownMargin,
		lacks: "neither a port 8300 nor the agent answers, and the reason may be this exporter's network",
	},
	{
		evidence: "the same, but b and c accept the connection (they hang)",
		reports:  reports(noAnswer(a), hanging(b), hanging(c)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{0, 3, 0}, margin: unknownMargin,
		lacks: "nothing answers, although " + b.Name + " and " + c.Name + " accept connections",
	},
	{
		evidence: "all three answer and know no leader (an election)", reports: reports(says(a, 0), says(b, 0), says(c, 0)),
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{3, 0, 0}, margin: "1",
		lacks: "the voters that answer do not follow one leader",
	},
	{
		evidence: "b and c follow a, which is silent (it hangs, or has just died)",
		reports:  reports(noAnswer(a), says(b, 1), says(c, 1)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{2, 1, 0}, margin: "0",
		lacks: "server-1 is called leader and does not answer",
	},
	{
		evidence: "b and c follow a, which answers and knows no leader (it hung, and was just woken)",
		reports:  reports(says(a, 0), says(b, 1), says(c, 1)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{3, 0, 0}, margin: "1",
		lacks: "server-1 is called leader and does not lead",
	},
	{
		evidence: "a leads itself, b another one that leads itself, too (a split brain)",
		reports:  reports(says(a, 1), says(b, 2), noAnswer(c)),
		quorum:   QuorumUnknown, writes: WritesUnknown, voters: [3]int{2, 1, 0}, margin: "0",
		lacks: "the voters that answer do not follow one leader", leaders: []string{a.Name, b.Name},
	},
	{
		evidence: "a waits for two more servers before the first election",
		reports:  reports(reporttest.Says(a, 0, 0, 0)),
		with: func(e *inputs.Evidence) {
			e.Topology.Peers = nil
			agentWaits(e)
		},
		quorum: QuorumUnknown, writes: WritesUnknown, voters: [3]int{1, 0, 0}, margin: unknownMargin,
		lacks: "the cluster was never bootstrapped: 1 of 3 expected servers",
	},
	{
		evidence: "a waits to join (it replaces another one), b knows no leader, and c, which is in b's Raft " +
			"configuration, is silent",
		reports: reports(withPeers(says(reporttest.NonVoter(a), 0)), withPeers(says(b, 0), b, c), noAnswer(c)),
		with:    agentWaits,
		quorum:  QuorumLost, writes: WritesUnknown, voters: [3]int{1, 1, 0}, margin: "-1",
	},
	{
		evidence: "all follow a, whose log is ahead of both followers', and they have stood still for 30 s",
		reports:  reports(at(says(a, 1), 28), at(says(b, 1), 26), at(says(c, 1), 26)), with: standing(2, 30*time.Second),
		quorum: QuorumHeld, writes: WritesStalled, voters: [3]int{3, 0, 0}, margin: "1", leaders: []string{a.Name},
	},
	{
		evidence: "the same for 10 s",
		reports:  reports(at(says(a, 1), 28), at(says(b, 1), 26), at(says(c, 1), 26)), with: standing(2, 10*time.Second),
		quorum: QuorumHeld, writes: WritesUnknown, voters: [3]int{3, 0, 0}, margin: "1", leaders: []string{a.Name},
	},
	{
		evidence: "all follow a, and only c's log is behind", with: standing(5, 60*time.Second),
		reports: reports(at(says(a, 1), 28), at(says(b, 1), 28), at(says(c, 1), 26)),
		quorum:  QuorumHeld, writes: WritesCommitting, voters: [3]int{3, 0, 0}, margin: "1", leaders: []string{a.Name},
	},
	{
		evidence: "one server, which leads itself", reports: reports(reporttest.Says(a, 1, 1, 10)),
		quorum: QuorumHeld, writes: WritesCommitting, voters: [3]int{1, 0, 0}, margin: "0", leaders: []string{a.Name},
	},
	{
		evidence: "no server is known", quorum: QuorumUnknown, writes: WritesUnknown, margin: unknownMargin,
		lacks: "no server is known to have a vote",
	},
}

// evidence is what a case is judged from.
func (tc *evidenceCase) evidenceOf() *inputs.Evidence {
	e := &inputs.Evidence{At: scrapeAt, Topology: cluster.Topology{MembersKnown: true}, Reports: tc.reports}
	for _, r := range tc.reports {
		s := r.Server
		e.Topology.Servers = append(e.Topology.Servers, s)
		if !s.Missing() {
			e.Topology.Peers = append(e.Topology.Peers, cluster.RaftPeer{ID: s.ID, Address: s.RPCAddress, Voter: s.Voter})
		}
	}
	if tc.with != nil {
		tc.with(e)
	}
	return e
}

// Without a witness there is no telling that nobody leads: a leader may be silent for this exporter only.
func TestJudge_LeadershipKnown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reports []cluster.Report
		want    bool
	}{
		"one server leads":                         {reports(says(a, 1), says(b, 1), noAnswer(c)), true},
		"nobody knows a leader":                    {reports(says(a, 0), says(b, 0), noAnswer(c)), true},
		"b follows a, which is silent":             {reports(noAnswer(a), says(b, 1), noAnswer(c)), false},
		"b has just heard of a, c knows no leader": {reports(noAnswer(a), heard(says(b, 1), time.Second), says(c, 0)), false},
		"b heard of a long ago, c knows no leader": {reports(noAnswer(a), heard(says(b, 1), time.Minute), says(c, 0)), true},
		"nothing answers but a removed server":     {reports(noAnswer(a), noAnswer(b), says(removed(d), 0)), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := evidenceCase{reports: tc.reports}
			if got := Judge(of.evidenceOf()).Leadership.Known(); got != tc.want {
				t.Errorf("the leaders are known: %t; want %t", got, tc.want)
			}
		})
	}
}

// A server that was removed has an old configuration, whose peers are gone. They are not left over in the others'.
func TestJudge_OldConfiguration(t *testing.T) {
	t.Parallel()
	old := says(removed(d), 0)
	old.RPC.Raft.Peers = append(old.RPC.Raft.Peers, "10.0.0.9:8300", d.RPCAddress)
	tc := evidenceCase{reports: reports(says(a, 1), says(b, 1), says(c, 1), old)}
	if v := Judge(tc.evidenceOf()); v.UnknownPeers != 0 || v.Configurations != 1 {
		t.Errorf("there are %d unknown peers in %d configurations; want 0 in 1", v.UnknownPeers, v.Configurations)
	}
}

func TestJudge_Evidence(t *testing.T) {
	t.Parallel()
	for _, tc := range evidenceTable {
		t.Run(tc.evidence, func(t *testing.T) {
			t.Parallel()
			v := Judge(tc.evidenceOf())
			margin := unknownMargin
			if n, known := v.Quorum.Margin(); known {
				margin = fmt.Sprint(n)
			}
			got := evidenceCase{
				quorum: v.Quorum.State, lacks: v.Quorum.Lacks, writes: v.Writes.State, margin: margin,
				voters: [3]int{v.Quorum.Reachable, v.Quorum.LostVoters(), v.Quorum.Unknown}, leaders: v.Leadership.Leaders,
			}
			want := tc
			want.evidence, want.reports, want.with = "", nil, nil
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(evidenceCase{}),
				cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".with" }, cmp.Ignore())); diff != "" {
				t.Errorf("verdict differs (-want +got):\n%s", diff)
			}
		})
	}
}

// What the servers report beyond the quorum.
func TestJudge_Reports(t *testing.T) {
	t.Parallel()
	reversed, stranger, partial := says(b, 1), says(b, 1), says(b, 1)
	reversed.RPC.Raft.Peers = []string{a.RPCAddress, b.RPCAddress, c.RPCAddress}
	stranger.RPC.Raft.Peers = append(stranger.RPC.Raft.Peers, "10.9.9.9:8300")
	partial.RPC.Raft = probe.RaftView{LeaderKnown: true, Leader: a.RPCAddress}
	for _, tc := range []struct {
		name                         string
		reports                      []cluster.Report
		configurations, unknownPeers int
		lag                          map[string]uint64
		without                      int
		following                    int
	}{
		{"peers in any order", reports(at(says(a, 1), 12), reversed, at(says(c, 1), 12)), 1, 0, lags(0, 2, 0), 0, 3},
		{"a peer that others lack", reports(says(a, 1), stranger, says(c, 1)), 2, 1, lags(0, 0, 0), 0, 3},
		{
			"a new server that nobody has added yet",
			reports(reporttest.Says(a, 1, 2, 10), reporttest.Says(b, 1, 2, 10), withPeers(says(reporttest.NonVoter(c), 0))),
			1, 0, lags(0, 0, 0), 1, 2,
		},
		{
			"a voter that has lost its configuration", reports(says(a, 1), says(b, 1), withPeers(says(c, 0))), 2, 0,
			lags(0, 0, 0), 1, 2,
		},
		{
			"a server whose Raft is shutting down tells only a part", reports(says(a, 1), partial, says(c, 1)), 1, 0,
			map[string]uint64{a.Name: 0, c.Name: 0},
			0, 3,
		},
		{
			"a dead peer that no member matches", reports(says(a, 1), says(b, 1), noAnswer(reporttest.Strange(c))), 1, 1,
			lags(0, 0), 0, 2,
		},
		{
			"without a vote, and behind",
			reports(reporttest.Says(a, 1, 2, 30), reporttest.Says(reporttest.NonVoter(b), 1, 2, 10)), 1, 0, lags(0, 20), 0, 1,
		},
		{"no leader known", reports(says(a, 0), says(b, 0), says(c, 0)), 1, 0, lags(0, 0, 0), 3, 3},
		{"a leader that nobody has heard of yet", reports(says(a, 1), says(b, 0), says(c, 0)), 1, 0, lags(0, 0, 0), 2, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := Judge((&evidenceCase{reports: tc.reports}).evidenceOf())
			if v.Configurations != tc.configurations || v.UnknownPeers != tc.unknownPeers ||
				v.Leadership.Without != tc.without || v.Quorum.Following != tc.following {
				t.Errorf("got %d configurations, %d unknown peers, %d without a leader, %d following; want %+v",
					v.Configurations, v.UnknownPeers, v.Leadership.Without, v.Quorum.Following, tc)
			}
			if diff := cmp.Diff(tc.lag, v.LogLag); diff != "" {
				t.Errorf("lag differs (-want +got):\n%s", diff)
			}
		})
	}
}

// lags are those of the servers in turn.
func lags(entries ...uint64) map[string]uint64 {
	all := make(map[string]uint64)
	for i, n := range entries {
		all[reporttest.Server(i+1).Name] = n
	}
	return all
}

// A member that came back at another address is known by its ID, though the Raft configuration still has the old one.
func TestJudge_ChangedAddress(t *testing.T) {
	t.Parallel()
	moved := a
	moved.RPCAddress = "10.0.0.99:8300"
	e := &inputs.Evidence{
		Topology: cluster.Topology{
			MembersKnown: true, Servers: []cluster.Server{moved},
			Peers: []cluster.RaftPeer{{ID: "id-1", Address: "10.0.0.1:8300", Voter: true}},
		},
		Reports: reports(reporttest.Says(moved, 1, 1, 5)),
	}
	if got := Judge(e).UnknownPeers; got != 0 {
		t.Errorf("unknown peers = %d; want 0", got)
	}
}
