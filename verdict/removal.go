// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// Removal is whether a server can be taken out of the Raft configuration without the quorum being worse off, by what
// was known in one snapshot. As JSON it is public: fields are only ever added.
type Removal struct {
	Server string `json:"server"`
	Safe   bool   `json:"safe"`
	// Voter is whether the server has a vote.
	Voter bool `json:"voter"`
	// Counted are the voters that can be counted on, without this server. VotersBefore and VotersAfter have a vote now
	// and without it, and NeededBefore and NeededAfter of them must agree.
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

// JudgeRemoval decides whether the named server, which is dead, can be removed. It is a pure function. At least
// minVoters must stay: with fewer the cluster could not lose another one, however well these are. Whether the server
// is dead is not decided here; see JudgeDead.
func JudgeRemoval(server string, minVoters int, in inputs.Stop) (Removal, error) {
	target := slices.IndexFunc(in.Reports, func(r cluster.Report) bool { return r.Server.Name == server })
	if target < 0 {
		return Removal{}, unknownServer(server, in.Reports)
	}
	j := newStopJudge(&in, map[int]bool{target: true})
	var stop Stop
	j.count(&stop)
	r := Removal{
		Server: server, Voter: stop.Voter, Counted: stop.After, Reasons: stop.Reasons,
		VotersBefore: stop.Voters, VotersAfter: stop.Voters, NeededBefore: stop.Needed,
	}
	if r.Voter {
		r.VotersAfter--
	}
	r.NeededAfter = r.VotersAfter/2 + 1
	r.decide(j.removalTrouble(&stop), minVoters)
	return r, nil
}

// removalTrouble says why nobody should be removed, whatever the voters say; empty if nothing. All servers that answer
// must have one Raft configuration: it may be changing.
func (j *stopJudge) removalTrouble(stop *Stop) string {
	if trouble := j.configurationTrouble(stop); trouble != "" {
		return trouble
	}
	if _, trouble := j.trouble(stop); trouble != "" {
		return trouble
	}
	if slices.ContainsFunc(j.in.Reports, func(r cluster.Report) bool {
		return r.Server.Voter && r.RPC.Raft.PeersKnown && addressSet(r.RPC.Raft.Peers) != j.configured
	}) {
		return "The servers do not agree about the Raft configuration."
	}
	return ""
}

// decide adds the last reason: the given one, which speaks against it, if there is one.
func (r *Removal) decide(reason string, minVoters int) {
	switch {
	case reason != "":
	case r.Counted < r.NeededBefore:
		reason = fmt.Sprintf("%d of %d voters can be counted on, fewer than the quorum of %d.",
			r.Counted, r.VotersBefore, r.NeededBefore)
	case r.VotersAfter < minVoters:
		reason = fmt.Sprintf("Without %s there are %d voters left, fewer than %d: none of them could fail then.",
			r.Server, r.VotersAfter, minVoters)
	default:
		r.Safe = true
		reason = fmt.Sprintf("Without %s there are %d voters, of which %d can be counted on, and the quorum is %d: %s.",
			r.Server, r.VotersAfter, r.Counted, r.NeededAfter, tolerated(r.Margin()))
	}
	r.Reasons = append(r.Reasons, reason)
}
