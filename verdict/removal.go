// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Removal is whether a server can be taken out of the Raft configuration without the quorum being worse off, by what was known in one
// snapshot. As JSON it is public: fields are only ever added.
type Removal struct {
	Server string `json:"server"`
	Safe   bool   `json:"safe"`
	// Voter is whether the server has a vote.
	Voter bool `json:"voter"`
	// Counted are the voters that can be counted on, without this server. VotersBefore and VotersAfter have a vote now and without it, and
	// NeededBefore and NeededAfter of them must agree.
	Counted      int `json:"counted"`
	VotersBefore int `json:"voters_before"`
	VotersAfter  int `json:"voters_after"`
	NeededBefore int `json:"needed_before"`
	NeededAfter  int `json:"needed_after"`
	// Reasons says why, one sentence each.
	Reasons []string `json:"reasons"`
}

// Margin is how many more voters may fail once the server is removed.
func (r Removal) Margin() int { return r.Counted - r.NeededAfter }

// JudgeRemoval decides whether the named server, which is dead, can be removed. It is a pure function. At least minVoters must stay: with
// fewer the cluster could not lose another one, however well these are. That the server is dead is not decided here; see JudgeDead.
func JudgeRemoval(server string, minVoters int, in cluster.StopInput) (Removal, error) {
	i := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.Name == server })
	if i < 0 {
		return Removal{}, unknownServer(server, in.Reports)
	}
	verdict := Judge(in.Topology, in.Reports)
	r := Removal{
		Server: server, Voter: in.Reports[i].Server.Voter,
		VotersBefore: verdict.Quorum.Voters, VotersAfter: verdict.Quorum.Voters, NeededBefore: verdict.Quorum.Needed,
	}
	if r.Voter {
		r.VotersAfter--
	}
	r.NeededAfter = r.VotersAfter/2 + 1
	for _, report := range in.Reports {
		if !report.Server.Voter || report.Server.Name == server {
			continue
		}
		if doubt := doubtAbout(report, verdict, &in); doubt != "" {
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s cannot be counted on: %s.", report.Server.Name, doubt))
		} else {
			r.Counted++
		}
	}
	r.decide(verdict, minVoters)
	return r, nil
}

// decide adds the last reason.
func (r *Removal) decide(v Verdict, minVoters int) {
	left := fmt.Sprintf("Without %s there are %d voters, of which %d can be counted on, and the quorum is %d", r.Server, r.VotersAfter, r.Counted, r.NeededAfter)
	switch trouble := leadershipTrouble(v); {
	case trouble != "":
		r.Reasons = append(r.Reasons, trouble)
	case r.Counted < r.NeededBefore:
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d of %d voters can be counted on, fewer than the quorum of %d.", r.Counted, r.VotersBefore, r.NeededBefore))
	case r.VotersAfter < minVoters:
		r.Reasons = append(r.Reasons, fmt.Sprintf("Without %s there are %d voters left, fewer than %d: none of them could fail then.", r.Server, r.VotersAfter, minVoters))
	default:
		r.Safe = true
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s: %s more may fail.", left, count(r.Margin())))
	}
}
