// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// Whatever servers there are and whatever they say, they are judged.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"Topology":{"Servers":[{"Name":"a","RPCAddress":"10.0.0.1:8300","Voter":true}],"Peers":[{"ID":"x"}]},
		"Reports":[{"Server":{"Name":"a","RPCAddress":"10.0.0.1:8300","Voter":true},
		"RPC":{"Up":true,"Raft":{"LeaderKnown":true,"Leader":"10.0.0.1:8300"}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var in cluster.StopInput
		if json.Unmarshal(data, &in) != nil {
			return
		}
		q := verdict.Judge(in.Evidence()).Quorum
		if q.Reachable+q.Unknown > q.Voters || q.Following > q.Reachable {
			t.Errorf("%d reachable, %d unknown and %d following voters of %d", q.Reachable, q.Unknown, q.Following, q.Voters)
		}
		for _, r := range in.Reports {
			if stop, err := verdict.JudgeStop(r.Server.Name, in); err != nil || stop.After > stop.Before {
				t.Errorf("stopping %q leaves %d of %d: %v", r.Server.Name, stop.After, stop.Before, err)
			}
		}
	})
}
