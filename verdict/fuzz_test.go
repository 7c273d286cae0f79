// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Whatever servers there are and whatever they say, they are judged.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"Topology":{"Servers":[{"Name":"a","RPCAddress":"10.0.0.1:8300","Voter":true}],"Peers":[{"ID":"x"}]},
		"Reports":[{"Server":{"Name":"a","RPCAddress":"10.0.0.1:8300","Voter":true},
		"RPC":{"Up":true,"Raft":{"LeaderKnown":true,"Leader":"10.0.0.1:8300"}}}]}`))
	f.Add([]byte(`{"Topology":{"MembersKnown":true,"RaftKnown":true,
		"Servers":[{"Name":"a","ID":"x","RPCAddress":"10.0.0.1:8300","Voter":true,"Status":1}],
		"Peers":[{"ID":"x","Address":"10.0.0.1:8300","Voter":true}]},"Consistent":{"OK":true},
		"Autopilot":{"Servers":[{"ID":"x","Healthy":true}]},"Reports":[
		{"Server":{"Name":"b","ID":"y"}},{"Server":{"Name":"a","ID":"x","RPCAddress":"10.0.0.1:8300","Status":1},
		"RPC":{"Up":true,"Raft":{"LeaderKnown":true,"Leader":"10.0.0.1:8300","PeersKnown":true,"StatsKnown":true,
		"Peers":["10.0.0.1:8300"]}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var in inputs.Stop
		if json.Unmarshal(data, &in) != nil {
			return
		}
		q := verdict.Judge(in.Evidence()).Quorum
		if q.Reachable+q.Unknown > q.Voters || q.Following > q.Reachable {
			t.Errorf("%d reachable, %d unknown and %d following voters of %d", q.Reachable, q.Unknown, q.Following, q.Voters)
		}
		for _, r := range in.Reports {
			if r.Server.Name != "" {
				expectStop(t, r.Server.Name, in)
			}
		}
	})
}

// expectStop expects of an answer what holds for any: a yes has the voters that it needs, and stays one when all that
// are unknown turn out to be lost, or gossip with the server that is to be stopped breaks.
func expectStop(t *testing.T, server string, in inputs.Stop) {
	t.Helper()
	stop, err := verdict.JudgeStop(server, in)
	if err != nil {
		t.Fatal(err)
	}
	if stop.After > stop.Before || stop.Before+stop.Unknown > stop.Voters {
		t.Errorf("stopping %q: the numbers of %+v cannot be", server, stop)
	}
	yes := stop.Answer == verdict.AnswerYes
	if stop.Safe != yes || (yes && stop.After < stop.Needed) || len(stop.Reasons) == 0 {
		t.Errorf("stopping %q: %+v", server, stop)
	}
	if !stop.Safe {
		return
	}
	in.Reports = slices.Clone(in.Reports)
	for i := range in.Reports {
		if r := &in.Reports[i]; r.Server.Name == server || !r.RPC.Up {
			r.RPC = probe.RPCResult{Result: probe.Result{Reason: probe.ReasonRefused}}
		}
	}
	if again, _ := verdict.JudgeStop(server, in); !stop.Leads && !again.Safe {
		t.Errorf("stopping %q: %+v, but with all that are unknown lost %+v", server, stop, again)
	}
}
