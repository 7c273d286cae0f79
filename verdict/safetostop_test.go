// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
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

func TestJudgeStop(t *testing.T) {
	t.Parallel()
	says := func(i, leader, peers int, lastIndex uint64) cluster.Report {
		return reporttest.Says(reporttest.Server(i), leader, peers, lastIndex)
	}
	nonVoter := reporttest.Says(reporttest.NonVoter(reporttest.Server(4)), 1, 3, 1000)
	unhealthy := func(id string) *cluster.AutopilotState {
		state := &cluster.AutopilotState{}
		for _, known := range []string{"id-1", "id-2", "id-3", "id-4", "id-5"} {
			state.Servers = append(state.Servers, cluster.AutopilotServer{ID: known, Healthy: known != id})
		}
		return state
	}
	for _, tc := range []struct {
		name      string
		stop      string
		reports   []cluster.Report
		autopilot *cluster.AutopilotState
		safe      bool
		margin    int
		reason    string // Part of the reasons.
	}{
		{
			"three healthy", "server-2", of(3), nil, true, 0,
			"Without server-2 2 of 3 voters can be counted on, and the quorum is 2: none more may fail.",
		},
		{"the leader", "server-1", of(3), nil, true, 0, "none more may fail"},
		{"one of one", "server-1", of(1), nil, false, -1, "Without server-1 0 of 1 voters"},
		{"one of two", "server-2", of(2), nil, false, -1, "Without server-2 1 of 2 voters"},
		{
			"another hangs", "server-2", of(3, silent(3)), nil, false, -1,
			"server-3 cannot be counted on: port 8300 does not answer (timeout).",
		},
		{"itself hangs", "server-3", of(3, silent(3)), nil, true, 0, "server-3 does not answer, so nothing is lost with it."},
		{
			"another could not be probed", "server-2", of(3, reporttest.NotAsked(reporttest.Server(3))), nil, false, -1,
			"server-3 cannot be counted on: its port 8300 could not be probed (own_fault).",
		},
		{"5 with 1 dead", "server-2", of(5, silent(5)), nil, true, 0, "3 of 5 voters can be counted on, and the quorum is 3"},
		{"5 with 2 dead", "server-2", of(5, silent(5), silent(4)), nil, false, -1, "2 of 5"},
		{"no vote", "server-4", append(of(3), nonVoter), nil, true, 1, "server-4 has no vote."},
		{
			"another lags", "server-2", of(3, says(3, 1, 3, 749)), nil, false, -1,
			"server-3 cannot be counted on: its log is 251 entries behind, more than 250.",
		},
		{"another lags a little", "server-2", of(3, says(3, 1, 3, 750)), nil, true, 0, ""},
		{"the one that lags", "server-3", of(3, says(3, 1, 3, 1)), nil, true, 0, ""},
		{
			"another has no leader", "server-2", of(3, says(3, 0, 3, 1000)), nil, false, -1,
			"server-3 cannot be counted on: it knows of no leader.",
		},
		{
			"no leader", "server-2", of(3, says(1, 0, 3, 9), says(2, 0, 3, 9), says(3, 0, 3, 9)), nil, false, -2,
			"There is no leader.",
		},
		{"a leader that does not answer", "server-2", of(3, silent(1)), nil, false, -1, "There is no leader."},
		{
			"split brain", "server-2", of(5, says(3, 3, 5, 1000)), nil, false, 1,
			"Split brain: server-1, server-3 all call themselves leader.",
		},
		{"an election", "server-2", of(5, says(3, 2, 5, 1000)), nil, false, 1, "do not agree about who leads"},
		{"peers differ", "server-2", of(5, says(3, 1, 4, 1000)), nil, false, 1, "do not agree about the Raft configuration"},
		{
			"autopilot", "server-2", of(3), unhealthy("id-3"), false, -1,
			"server-3 cannot be counted on: autopilot calls it unhealthy.",
		},
		{"autopilot about the one to stop", "server-3", of(3), unhealthy("id-3"), true, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			stop := must.Get(JudgeStop(tc.stop, cluster.StopInput{
				Reports: tc.reports, Autopilot: tc.autopilot, MaxTrailingLogs: cluster.DefaultMaxTrailingLogs,
			}))(t)
			hint := tc.safe && tc.stop == "server-1" // Which leads.
			if stop.Safe != tc.safe || stop.Margin() != tc.margin || (stop.Hint != "") != hint {
				t.Errorf("got %+v with margin %d; want safe %v, margin %d, a hint %v",
					stop, stop.Margin(), tc.safe, tc.margin, hint)
			}
			if reasons := strings.Join(stop.Reasons, " "); !strings.Contains(reasons, tc.reason) || reasons == "" {
				t.Errorf("reasons are %q; want %q among them", reasons, tc.reason)
			}
		})
	}
}

func TestJudgeStop_Unknown(t *testing.T) {
	t.Parallel()
	_, err := JudgeStop("server-9", cluster.StopInput{Reports: of(1)})
	if !errors.Is(err, ErrUnknownServer) || !strings.Contains(err.Error(), "server-1") {
		t.Errorf("error is %v; want that there is no such server, but server-1", err)
	}
}
