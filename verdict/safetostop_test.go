// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// of returns the reports of n servers led by server-1, except what some of them report.
func of(n int, instead ...cluster.Report) []cluster.Report {
	var reports []cluster.Report
	for i := range n {
		reports = append(reports, reporttest.Says(reporttest.Server(i+1), 1, n, 1000))
	}
	for _, r := range instead {
		i := slices.IndexFunc(reports, func(had cluster.Report) bool { return had.Server.Name == r.Server.Name })
		reports[i] = r
	}
	return reports
}

// silent is a report of a server that does not answer.
func silent(i int) cluster.Report { return reporttest.Silent(reporttest.Server(i)) }

// stopInput is a cluster of these servers, of which all are known and none is unhealthy.
func stopInput(reports ...cluster.Report) inputs.Stop {
	in := inputs.Stop{
		Topology: cluster.Topology{MembersKnown: true, RaftKnown: true}, Reports: reports,
		Autopilot: &cluster.AutopilotState{}, MaxTrailingLogs: inputs.DefaultMaxTrailingLogs,
		Consistent: &cluster.ConsistentRead{OK: true},
	}
	for _, r := range reports {
		s := r.Server
		in.Topology.Servers = append(in.Topology.Servers, s)
		peer := cluster.RaftPeer{ID: s.ID, Name: s.Name, Address: s.RPCAddress, Voter: s.Voter}
		in.Topology.Peers = append(in.Topology.Peers, peer)
		in.Autopilot.Servers = append(in.Autopilot.Servers, cluster.AutopilotServer{ID: s.ID, Name: s.Name, Healthy: true})
	}
	return in
}

func TestJudgeStop(t *testing.T) {
	t.Parallel()
	says := func(i, leader, peers int, lastIndex uint64) cluster.Report {
		return reporttest.Says(reporttest.Server(i), leader, peers, lastIndex)
	}
	nonVoter := reporttest.Says(reporttest.NonVoter(reporttest.Server(4)), 1, 4, 1000)
	turnedAway := func(i int) cluster.Report {
		r := silent(i)
		r.RPC.Reason = probe.ReasonTLS
		return r
	}
	type input = *inputs.Stop
	// at changes what a server says, from 1.
	at := func(i int, change func(*cluster.Report)) func(input) {
		return func(in input) { change(&in.Reports[i-1]) }
	}
	// looks adds a first look of a second before, in which the servers' logs had these lengths.
	looks := func(lastIndexes ...uint64) func(input) {
		return func(in input) {
			in.Between = time.Second
			for i, index := range lastIndexes {
				in.Earlier = append(in.Earlier, says(i+1, 1, len(lastIndexes), index))
			}
		}
	}
	autopilot := func(i int) func(input) { return func(in input) { in.Autopilot.Servers[i-1].Healthy = false } }
	type servers = []cluster.Report
	const yes, no, unknown = AnswerYes, AnswerNo, AnswerUnknown
	for _, tc := range []struct {
		name    string
		stop    string
		reports servers
		change  func(input) // Nil changes nothing.
		answer  Answer
		margin  int
		reason  string // Part of the reasons.
	}{
		{
			"three healthy", "server-2", of(3), nil, yes, 0,
			"Without server-2 2 of 3 voters can be counted on, and the quorum is 2: no further failure can be tolerated.",
		},
		{"by its node ID", "id-2", of(3), nil, yes, 0, "Without server-2 2 of 3"},
		{"the leader", "server-1", of(3), nil, yes, 0, "no further failure can be tolerated"},
		{"five healthy", "server-1", of(5), nil, yes, 1, "one more failure can be tolerated"},
		{"seven healthy", "server-1", of(7), nil, yes, 2, "2 more failures can be tolerated"},
		{"one of one", "server-1", of(1), nil, no, -1, "Without server-1 0 of 1 voters"},
		{"one of two", "server-2", of(2), nil, no, -1, "Without server-2 1 of 2 voters"},
		{
			"another hangs", "server-2", of(3, silent(3)), nil, no, -1,
			"server-3 cannot be counted on: port 8300 does not answer (timeout).",
		},
		{"itself hangs", "server-3", of(3, silent(3)), nil, yes, 0, "server-3 does not answer, so nothing is lost with it."},
		{
			"another could not be probed", "server-2", of(3, reporttest.NotAsked(reporttest.Server(3))), nil, unknown, -1,
			"server-3 cannot be counted on: its port 8300 could not be probed (own_fault).",
		},
		{
			"another turns us away", "server-2", of(3, turnedAway(3)), nil, unknown, -1,
			"server-3 cannot be counted on: its port 8300 turns this program away (tls).",
		},
		{"there are enough without those", "server-2", of(5, turnedAway(5)), nil, yes, 0, "3 of 5 voters"},
		{"there are too few even with those", "server-2", of(5, turnedAway(5), silent(4), silent(3)), nil, no, -2, "1 of 5"},
		{"the leader turns us away", "server-2", of(5, turnedAway(1)), nil, unknown, -3, "Who leads is unknown"},
		{"all turn us away", "server-2", of(3, turnedAway(1), turnedAway(2), turnedAway(3)), nil, unknown, -2, "Who leads"},
		{"itself turns us away", "server-3", of(3, turnedAway(3)), nil, yes, 0, "2 of 3 voters"},
		{"5 with 1 dead", "server-2", of(5, silent(5)), nil, yes, 0, "3 of 5 voters can be counted on, and the quorum is 3"},
		{"5 with 2 dead", "server-2", of(5, silent(5), silent(4)), nil, no, -1, "2 of 5"},
		{"no vote yet", "server-4", append(ofPeers(3, 4), nonVoter), nil, yes, 1, "server-4 has no vote yet."},
		{"no vote ever", "server-4", append(ofPeers(3, 4), nonVoter), func(in input) {
			in.Reports[3].Server.Replica = true
		}, yes, 1, "server-4 has no vote."},
		{
			"joins a single voter", "server-2", append(ofPeers(1, 2), joining(2, 2)), nil, no, 0,
			"server-2 has no vote yet. Autopilot gives it one once it is stable, and then the quorum is 2 of 2, " +
				"but without it only 1 can be counted on.",
		},
		{"joins two", "server-3", append(ofPeers(2, 3), joining(3, 3)), nil, yes, 0, "server-3 has no vote yet."},
		{
			"replaces a dead one", "server-4", append(of(4, silent(3))[:3], joining(4, 4)), nil, no, 0,
			"the quorum is 3 of 4, but without it only 2",
		},
		{
			"joins and hangs", "server-2", append(ofPeers(1, 2), reporttest.Silent(reporttest.NonVoter(reporttest.Server(2)))),
			nil, yes, 0, "server-2 has no vote.",
		},
		{"has just got its vote", "server-4", append(ofPeers(3, 4), nonVoter), func(in input) {
			in.Autopilot.Servers[3].Voter = new(true)
		}, unknown, 1, "The Raft configuration and autopilot do not agree about who votes"},
		{"votes as autopilot says", "server-2", of(3), func(in input) {
			for i := range in.Autopilot.Servers {
				in.Autopilot.Servers[i].Voter = new(true)
			}
		}, yes, 0, ""},
		{"of another cluster", "server-4", append(ofPeers(3, 3), says(4, 9, 4, 1000)), func(in input) {
			in.Topology.Peers, in.Reports[3].Server.Voter = in.Topology.Peers[:3], false
		}, unknown, 1, "server-4 has no vote here, and follows the leader of another cluster."},
		{"another's certificate has expired", "server-2", of(3), at(3, func(r *cluster.Report) {
			r.RPC.Start, r.RPC.CertExpiry = time.Unix(2000, 0), time.Unix(1999, 0)
		}), unknown, -1, "server-3 cannot be counted on: its certificate on port 8300 has expired"},
		{"another's certificate is good", "server-2", of(3), at(3, func(r *cluster.Report) {
			r.RPC.Start, r.RPC.CertExpiry = time.Unix(2000, 0), time.Unix(2001, 0)
		}), yes, 0, ""},
		{
			"a read replica that votes", "server-3", of(3, silent(2)), func(in input) {
				in.Reports[2].Server.Voter = false // As its tag says, and what Raft's configuration outranks.
			}, no, -1, "1 of 3 voters",
		},
		{
			"another lags", "server-2", of(3, says(3, 1, 3, 749)), nil, no, -1,
			"server-3 cannot be counted on: its log is 251 entries behind, more than 250.",
		},
		{"the one that lags", "server-3", of(3, says(3, 1, 3, 1)), nil, yes, 0, ""},
		{"the logs grow", "server-2", of(3, says(3, 1, 3, 990)), looks(980, 979, 970), yes, 0, ""},
		{
			"a follower's log stands still", "server-2", of(3, says(3, 1, 3, 990)), looks(995, 995, 990), no, -1,
			"server-3 cannot be counted on: its log does not keep up: 10 entries behind, " +
				"without what the leader had 1 s before.",
		},
		{
			"the one whose log stands still", "server-3", of(3, says(3, 1, 3, 990)), looks(995, 995, 990), yes, 0, "",
		},
		{
			"no follower stores anything", "server-2", of(3, says(2, 1, 3, 990), says(3, 1, 3, 990)),
			looks(1000, 990, 990), no, -1,
			"server-3 cannot be counted on: its log does not keep up",
		},
		{
			"reads fail", "server-2", of(3), func(in input) { in.Consistent.OK = false }, no, 0,
			"Consistent reads fail, though server-1 leads.",
		},
		{"reads are unknown", "server-2", of(3), func(in input) { in.Consistent = nil }, unknown, 0, "is unknown."},
		{"the leader writes", "server-2", of(3), func(in input) {
			in.Consistent = nil
			looks(999, 999, 999)(in)
		}, yes, 0, ""},
		{"not heard of the leader", "server-2", of(3), func(in input) {
			looks(1000, 1000, 1000)(in)
			in.Earlier[2].RPC.Raft.LastContactKnown = true
			in.Reports[2].RPC.Raft.LastContact, in.Reports[2].RPC.Raft.LastContactKnown = 1001*time.Millisecond, true
		}, no, -1, "server-3 cannot be counted on: it has not heard of the leader for 1.0 s."},
		{"heard of the leader", "server-2", of(3), func(in input) {
			looks(1000, 1000, 1000)(in)
			in.Earlier[2].RPC.Raft.LastContactKnown = true
			in.Reports[2].RPC.Raft.LastContact, in.Reports[2].RPC.Raft.LastContactKnown = 999*time.Millisecond, true
		}, yes, 0, ""},
		{"another has entries of its own time as leader", "server-2", of(3, says(3, 1, 3, 1010)), func(in input) {
			looks(1000, 1000, 1010)(in)
			in.Reports[2].RPC.Raft.LastLogTerm = 1
		}, no, -1, "server-3 cannot be counted on: its log does not keep up"},
		{"no time for a second look", "server-2", of(3), func(in input) {
			looks(1000, 1000, 1000)(in)
			in.Between = 0
			for i := range in.Earlier {
				in.Earlier[i].RPC.Raft.LastContactKnown, in.Reports[i].RPC.Raft.LastContactKnown = true, true
			}
		}, unknown, -2, "server-3 cannot be counted on: there was no time to look at its log twice (--timeout)."},
		{"another leader at the first look", "server-2", of(5), func(in input) {
			looks(1000, 1000, 1000, 1000, 1000)(in)
			for i := range in.Earlier {
				in.Earlier[i] = says(i+1, 2, 5, 1000)
			}
		}, no, 1, "server-1 was elected a moment ago."},
		{
			"another has no leader", "server-2", of(3, says(3, 0, 3, 1000)), nil, no, -1,
			"server-3 cannot be counted on: it knows of no leader.",
		},
		{
			"no leader", "server-2", of(3, says(1, 0, 3, 9), says(2, 0, 3, 9), says(3, 0, 3, 9)), nil, no, -2,
			"There is no leader.",
		},
		{"a leader that does not answer", "server-2", of(3, silent(1)), nil, no, -2, "There is no leader."},
		{
			"split brain", "server-2", of(5, says(3, 3, 5, 1000)), nil, no, -3,
			"Several servers call themselves leader: server-1, server-3.",
		},
		{
			"one follows another", "server-2", of(5, says(3, 2, 5, 1000)), nil, no, 0,
			"The servers do not agree about who leads; an election may be under way.",
		},
		{
			"peers differ", "server-2", of(3, says(3, 1, 4, 1000)), nil, unknown, -1,
			"server-3 cannot be counted on: its Raft configuration is not the leader's.",
		},
		{
			"the agent has another configuration", "server-2", of(3), func(in input) {
				in.Topology.Peers[2].Address = "10.0.0.9:8300"
			}, unknown, 0, "The Raft configuration of the leader, server-1, was not the same at each look",
		},
		{
			"the leader had another configuration before", "server-2", of(3), func(in input) {
				looks(1000, 1000, 1000)(in)
				in.Earlier[0].RPC.Raft.Peers = in.Earlier[0].RPC.Raft.Peers[:2]
			}, unknown, 0, "The Raft configuration of the leader, server-1, was not the same at each look",
		},
		{"no configuration", "server-2", of(3), func(in input) {
			in.Topology.RaftKnown, in.Topology.Peers = false, nil
		}, unknown, -1, "The Raft configuration is unknown"},
		{"a configuration of addresses", "server-2", of(3), func(in input) {
			for i := range in.Topology.Peers {
				in.Topology.Peers[i].ID = ""
			}
		}, unknown, -2, "known only by addresses"},
		{"by the name that it had", "server-9", append(of(3), renamed()), func(in input) {
			in.Topology.Peers, in.Reports[2] = in.Topology.Peers[:3], silent(3)
		}, no, -1, "1 of 3 voters"},
		{"another was renamed", "server-1", append([]cluster.Report{renamed()}, of(3)...), func(in input) {
			in.Topology.Peers = in.Topology.Peers[1:]
		}, yes, 0, "Without server-1 2 of 3 voters can be counted on"},
		{"gone already", "server-4", append(ofPeers(3, 3), silent(4)), func(in input) {
			in.Topology.Peers, in.Reports[3].Server.Voter = in.Topology.Peers[:3], false
			in.Reports[3].Server.Absence = &cluster.Absence{How: cluster.DepartureRemoved}
		}, yes, 1, "server-4 is gone already, so nothing is lost with it."},
		{"a peer that is no server", "server-2", of(3), func(in input) {
			in.Topology.Peers[2].ID = "id-9"
		}, unknown, -1, "10.0.0.3:8300 cannot be counted on: no server is known that has its node ID."},
		{"a peer that is no member", "server-2", of(3), at(3, func(r *cluster.Report) {
			r.Server.Status = cluster.StatusNone
		}), unknown, -1, "no member of gossip has its node ID"},
		{"a peer that leaves", "server-2", of(3), at(3, func(r *cluster.Report) {
			r.Server.Status = cluster.StatusLeaving
		}), no, -1, "it is leaving in gossip"},
		{"another at its address", "server-2", of(3), func(in input) {
			stranger := in.Reports[2].Server
			stranger.ID, stranger.Name = "id-9", "server-9"
			in.Topology.Servers = append(in.Topology.Servers, stranger)
		}, no, -1, "server-3 cannot be counted on: another server is at its address."},
		{"no members", "server-2", of(3), func(in input) { in.Topology.MembersKnown = false }, unknown, -2, "may the token"},
		{
			"autopilot", "server-2", of(3), autopilot(3), no, -1,
			"server-3 cannot be counted on: autopilot calls it unhealthy.",
		},
		{"autopilot about the one to stop", "server-3", of(3), autopilot(3), yes, 0, ""},
		{"autopilot, by other names", "server-2", of(3), func(in input) {
			autopilot(3)(in)
			in.Autopilot.Servers[2].Name = "server-3.nyc3"
		}, no, -1, "autopilot calls it unhealthy"},
		{"autopilot, without IDs", "server-2", of(3), func(in input) {
			for i := range in.Autopilot.Servers {
				in.Autopilot.Servers[i].ID = ""
			}
		}, unknown, -2, "autopilot does not know its node ID"},
		{"no autopilot", "server-2", of(3), func(in input) { in.Autopilot = nil }, unknown, -2, "what autopilot says"},
		{"another is to be stopped", "server-2", of(3), func(in input) {
			in.Stopping = []inputs.StoppingServer{{Name: "server-3", ID: "id-3"}, {Name: "server-2", ID: "id-2"}}
		}, no, -1, "server-3 cannot be counted on: somebody has reserved its stop."},
		{"another of five is to be stopped", "server-2", of(5), func(in input) {
			in.Stopping = []inputs.StoppingServer{{Name: "server-3"}}
		}, yes, 0, "3 of 5 voters"},
		{"it would never catch up", "server-2", of(3), func(in input) {
			in.CatchUp = &inputs.CatchUp{OldestLogAge: 59 * time.Second, LastRestore: 30 * time.Second}
		}, no, 0, "server-2 might never catch up after a restart"},
		{"it would just catch up", "server-2", of(3), func(in input) {
			in.CatchUp = &inputs.CatchUp{OldestLogAge: time.Minute, LastRestore: 30 * time.Second}
		}, yes, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := stopInput(tc.reports...)
			if tc.change != nil {
				tc.change(&in)
			}
			stop := must.Get(JudgeStop(tc.stop, in))(t)
			hint := tc.answer == yes && tc.stop == "server-1" // Which leads.
			if stop.Answer != tc.answer || stop.Safe != (tc.answer == yes) || stop.Margin() != tc.margin ||
				(stop.Hint != "") != hint {
				t.Errorf("got %+v with margin %d; want %s, margin %d, a hint %v",
					stop, stop.Margin(), tc.answer, tc.margin, hint)
			}
			if reasons := strings.Join(stop.Reasons, " "); !strings.Contains(reasons, tc.reason) || reasons == "" {
				t.Errorf("reasons are %q; want %q among them", reasons, tc.reason)
			}
		})
	}
}

// After a wrong peers.json the asked server may have a configuration that lacks the leader. It does not say who has a
// vote then.
func TestJudgeStop_OtherConfiguration(t *testing.T) {
	t.Parallel()
	in := stopInput(reporttest.Says(reporttest.Server(1), 2, 1, 1000),
		reporttest.Says(reporttest.NonVoter(reporttest.Server(2)), 2, 3, 1000),
		reporttest.Says(reporttest.NonVoter(reporttest.Server(3)), 2, 3, 1000))
	in.Topology.Peers = in.Topology.Peers[:1]
	for _, server := range []string{"server-2", "server-3"} {
		stop := must.Get(JudgeStop(server, in))(t)
		reasons := strings.Join(stop.Reasons, " ")
		if stop.Answer != AnswerUnknown || strings.Contains(reasons, "no vote yet") {
			t.Errorf("%s: the answer is %s, because %q; want %s, and nothing about who votes",
				server, stop.Answer, reasons, AnswerUnknown)
		}
	}
}

// joining is a report of a server without a vote that follows server-1.
func joining(i, peers int) cluster.Report {
	return reporttest.Says(reporttest.NonVoter(reporttest.Server(i)), 1, peers, 1000)
}

// renamed is what is left in gossip of the name that server-2 had.
func renamed() cluster.Report {
	old := silent(9)
	old.Server.ID, old.Server.RPCAddress, old.Server.Voter = "id-2", "10.0.0.2:8300", false
	old.Server.Status = cluster.StatusFailed
	return old
}

// ofPeers is of n servers that all name this many peers.
func ofPeers(n, peers int) []cluster.Report {
	reports := of(peers)
	return reports[:n]
}

// A reservation ends only if its server was certainly away: a probe that got no answer is a moment of the network.
func TestAway(t *testing.T) {
	t.Parallel()
	refused := silent(3)
	refused.RPC.Reason = probe.ReasonRefused
	failed := silent(3)
	failed.Server.Status = cluster.StatusFailed
	left := refused
	left.Server.Status = cluster.StatusNone
	for _, tc := range []struct {
		name    string
		server  string
		reports []cluster.Report
		members bool
		want    bool
	}{
		{"answers", "server-3", of(3), true, false},
		{"no answer", "server-3", of(3, silent(3)), true, false},
		{"could not be asked", "id-3", of(3, reporttest.NotAsked(reporttest.Server(3))), true, false},
		{"refused", "id-3", of(3, refused), true, true},
		{"no answer, and failed in gossip", "id-3", of(3, failed), true, true},
		{"no answer, and gossip is unknown", "id-3", of(3, failed), false, false},
		{"no longer in gossip", "id-3", of(3, left), true, true},
		{"no longer named", "id-9", of(3), true, true},
		{"not named, and gossip is unknown", "id-9", of(3), false, false},
	} {
		in := stopInput(tc.reports...)
		in.Topology.MembersKnown = tc.members
		if got := Away(tc.server, in); got != tc.want {
			t.Errorf("%s: away %v; want %v", tc.name, got, tc.want)
		}
	}
}

// A release is about the server that was stopped, whatever it is called now, and about no other.
func TestMeans(t *testing.T) {
	t.Parallel()
	in := stopInput(of(3)...)
	in.Reports[2].Server.Name = "renamed"
	for _, tc := range []struct {
		server  string
		stopped inputs.StoppingServer
		want    bool
	}{
		{"server-2", inputs.StoppingServer{Name: "server-2", ID: "id-2"}, true},
		{"id-2", inputs.StoppingServer{Name: "server-2", ID: "id-2"}, true},
		{"server-1", inputs.StoppingServer{Name: "server-2", ID: "id-2"}, false},
		{"renamed", inputs.StoppingServer{Name: "server-3", ID: "id-3"}, true},
		{"server-3", inputs.StoppingServer{Name: "server-3", ID: "id-3"}, false},
		{"server-2", inputs.StoppingServer{Name: "server-2", ID: "id-of-before"}, true},
		{"server-2", inputs.StoppingServer{Name: "server-2"}, true},
		{"server-2", inputs.StoppingServer{Name: "server-1"}, false},
		{"", inputs.StoppingServer{Name: "server-2", ID: "id-2"}, false},
	} {
		if got := Means(tc.server, tc.stopped, in); got != tc.want {
			t.Errorf("%q means %+v: %v; want %v", tc.server, tc.stopped, got, tc.want)
		}
	}
}

func TestJudgeStop_Unknown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"server-9", ""} {
		_, err := JudgeStop(name, inputs.Stop{Reports: of(1)})
		if !errors.Is(err, ErrUnknownServer) || !strings.Contains(err.Error(), "the servers are: server-1") {
			t.Errorf("error is %v; want that there is no such server, but server-1", err)
		}
	}
}
