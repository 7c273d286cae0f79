// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
)

func TestJudgeRemoval(t *testing.T) {
	t.Parallel()
	of := func(n int, dead ...int) []cluster.Report {
		var reports []cluster.Report
		for i := 1; i <= n; i++ {
			reports = append(reports, reporttest.Says(reporttest.Server(i), 1, n, 1000))
		}
		for _, i := range dead {
			reports[i-1] = reporttest.Silent(reporttest.Server(i))
		}
		return reports
	}
	with := func(reports []cluster.Report, replaced cluster.Report) []cluster.Report {
		for i := range reports {
			if reports[i].Server.Name == replaced.Server.Name {
				reports[i] = replaced
			}
		}
		return reports
	}
	for _, tc := range []struct {
		name                   string
		remove                 string
		reports                []cluster.Report
		safe                   bool
		votersAfter, neededAft int
		counted                int
		reason                 string // Part of the reasons.
	}{
		{"one of five", "server-5", of(5, 5), true, 4, 3, 4, "Without server-5 there are 4 voters, of which 4 can be counted on, and the quorum is 3: 1 more may fail."},
		{"one of two dead of five", "server-5", of(5, 4, 5), true, 4, 3, 3, "of which 3 can be counted on, and the quorum is 3: none more may fail."},
		{"one of three", "server-3", of(3, 3), false, 2, 2, 2, "Without server-3 there are 2 voters left, fewer than 3: none of them could fail then."},
		{"one of four", "server-4", of(4, 4), true, 3, 2, 3, "1 more may fail"},
		{"of four with two dead, the quorum is lost", "server-4", of(4, 3, 4), false, 3, 2, 2, "2 of 4 voters can be counted on, fewer than the quorum of 3."},
		{"of six with three dead", "server-6", of(6, 4, 5, 6), false, 5, 3, 3, "3 of 6 voters can be counted on, fewer than the quorum of 4."},
		{"of six with two dead", "server-6", of(6, 5, 6), true, 5, 3, 4, "server-5 cannot be counted on: port 8300 does not answer (timeout)."},
		{"without a vote", "server-4", append(of(3), reporttest.Silent(reporttest.NonVoter(reporttest.Server(4)))), true, 3, 2, 3, "1 more may fail"},
		{"one that lags does not count", "server-5", with(of(5, 5), reporttest.Says(reporttest.Server(2), 1, 5, 1)), true, 4, 3, 3, "server-2 cannot be counted on: its log is 999 entries behind"},
		{"no leader", "server-1", of(5, 1), false, 4, 3, 4, "There is no leader."},
		{"split brain", "server-5", with(of(5, 5), reporttest.Says(reporttest.Server(2), 2, 5, 1000)), false, 4, 3, 4, "Split brain"},
		{"two configurations", "server-5", with(of(5, 5), reporttest.Says(reporttest.Server(2), 1, 4, 1000)), false, 4, 3, 4, "do not agree about the Raft configuration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := JudgeRemoval(tc.remove, 3, cluster.StopInput{Reports: tc.reports, MaxTrailingLogs: cluster.DefaultMaxTrailingLogs})
			if err != nil {
				t.Fatal(err)
			}
			if got.Safe != tc.safe || got.VotersAfter != tc.votersAfter || got.NeededAfter != tc.neededAft || got.Counted != tc.counted {
				t.Errorf("got %+v; want safe %v, %d voters of which %d are needed and %d counted on", got, tc.safe, tc.votersAfter, tc.neededAft, tc.counted)
			}
			if reasons := strings.Join(got.Reasons, " "); !strings.Contains(reasons, tc.reason) {
				t.Errorf("reasons are %q; want %q among them", reasons, tc.reason)
			}
		})
	}
	if _, err := JudgeRemoval("server-9", 3, cluster.StopInput{Reports: of(3)}); !errors.Is(err, ErrUnknownServer) {
		t.Errorf("error %v; want that there is no such server", err)
	}
}
