// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

func TestJudgeRemoval(t *testing.T) {
	t.Parallel()
	says := func(i, leader, peers int, lastIndex uint64) cluster.Report {
		return reporttest.Says(reporttest.Server(i), leader, peers, lastIndex)
	}
	nonVoter := reporttest.Silent(reporttest.NonVoter(reporttest.Server(4)))
	for _, tc := range []struct {
		name, remove string
		reports      []cluster.Report
		safe         bool
		want         [3]int // Voters after it, how many of them are needed, and how many can be counted on.
		reason       string // Part of the reasons.
	}{
		{
			"one of five", "server-5", of(5, silent(5)), true,
			[3]int{4, 3, 4},
			"Without server-5 there are 4 voters, of which 4 can be counted on, and the quorum is 3: one more failure can be " +
				"tolerated.",
		},
		{
			"one of two dead of five", "server-5", of(5, silent(4), silent(5)), true,
			[3]int{4, 3, 3},
			"of which 3 can be counted on, and the quorum is 3: no further failure can be tolerated.",
		},
		{
			"one of three", "server-3", of(3, silent(3)), false,
			[3]int{2, 2, 2},
			"Without server-3 there are 2 voters left, fewer than 3: none of them could fail then.",
		},
		{"one of four", "server-4", of(4, silent(4)), true, [3]int{3, 2, 3}, "one more failure can be tolerated"},
		{
			"of four with two dead, the quorum is lost", "server-4", of(4, silent(3), silent(4)), false,
			[3]int{3, 2, 2},
			"2 of 4 voters can be counted on, fewer than the quorum of 3.",
		},
		{
			"of six with three dead", "server-6", of(6, silent(4), silent(5), silent(6)), false,
			[3]int{5, 3, 3},
			"3 of 6 voters can be counted on, fewer than the quorum of 4.",
		},
		{
			"of six with two dead", "server-6", of(6, silent(5), silent(6)), true,
			[3]int{5, 3, 4},
			"server-5 cannot be counted on: port 8300 does not answer (timeout).",
		},
		{"without a vote", "server-4", append(ofPeers(3, 4), nonVoter), true, [3]int{3, 2, 3}, "one more failure can be"},
		{
			"one that lags does not count", "server-5", of(5, silent(5), says(2, 1, 5, 1)), true,
			[3]int{4, 3, 3},
			"server-2 cannot be counted on: its log is 999 entries behind",
		},
		{"the leader", "server-1", of(5, silent(1)), false, [3]int{4, 3, 0}, "There is no leader."},
		{"split brain", "server-5", of(5, silent(5), says(2, 2, 5, 1000)), false, [3]int{4, 3, 0}, "Several servers"},
		{
			"two configurations", "server-5", of(5, silent(5), says(2, 1, 4, 1000)), false,
			[3]int{4, 3, 3},
			"do not agree about the Raft configuration",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := stopInput(tc.reports...)
			got := must.Get(JudgeRemoval(tc.remove, 3, in))(t)
			if after := [3]int{got.VotersAfter, got.NeededAfter, got.Counted}; got.Safe != tc.safe || after != tc.want {
				t.Errorf("got %+v; want safe %v, and voters, needed and counted %v", got, tc.safe, tc.want)
			}
			if reasons := strings.Join(got.Reasons, " "); !strings.Contains(reasons, tc.reason) {
				t.Errorf("reasons are %q; want %q among them", reasons, tc.reason)
			}
		})
	}
	if _, err := JudgeRemoval("server-9", 3, stopInput(of(3)...)); !errors.Is(err, ErrUnknownServer) {
		t.Errorf("error %v; want that there is no such server", err)
	}
}
