// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

const autopilotStateSeed = `{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":2,"Servers":{
	"b":{"ID":"b","Name":"server-2","Address":"10.0.0.2:8300","NodeStatus":"alive","Version":"1.22.5",
		"LastContact":"23.5ms","LastTerm":2,
		"LastIndex":38,"Healthy":true,"StableSince":"2026-01-02T03:04:05.5Z","ReadReplica":false,"Status":"voter",
			"Meta":null,"NodeType":"voter"},
	"a":{"ID":"a","Name":"server-1","Address":"10.0.0.1:8300","NodeStatus":"alive","Version":"1.22.5",
		"LastContact":"0s","LastTerm":2,
		"LastIndex":40,"Healthy":true,"StableSince":"2026-01-02T03:04:05Z","ReadReplica":false,"Status":"leader",
			"Meta":null,"NodeType":"voter"}
	},"Leader":"a","Voters":["a","b"]}`

const autopilotConfigSeed = `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,
	"MinQuorum":3,"ServerStabilizationTime":"10s"}`

func TestNewAutopilotState(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name, answer string
		want         AutopilotState
	}{
		{"two servers", autopilotStateSeed, AutopilotState{
			Healthy: true, FailureTolerance: 1, OptimisticFailureTolerance: new(2),
			Servers: []AutopilotServer{
				{"server-1", "a", true, true, new(true), new(time.Duration(0)), since},
				{
					"server-2", "b", true, true, new(true), new(23500 * time.Microsecond),
					since.Add(500 * time.Millisecond),
				},
			},
		}},
		{"dead, never asked, never contacted, without a vote, unknown state, without a name", `{"Servers":{"1":null,
			"2":{"Name":"dead","NodeStatus":"failed","LastContact":"20ms","LastTerm":2,"LastIndex":38,"Status":"voter"},
			"3":{"Name":"fresh","NodeStatus":"alive","LastContact":"0s","Status":"staging","StableSince":"0001-01-01T00:00:00Z"},
			"4":{"Name":"lonely","NodeStatus":"alive","LastContact":"0s","LastTerm":2,"LastIndex":7,"Status":"non-voter"},
			"5":{"Name":"negative","NodeStatus":"alive","LastContact":"-1ns","LastTerm":2,"LastIndex":7,"Status":"none"},
			"6":{"Address":"10.0.0.6:8300","NodeStatus":"left","LastContact":null,"Status":"later"},
			"7":{}}}`, AutopilotState{Servers: []AutopilotServer{
			{Name: "10.0.0.6:8300", ID: "6"},
			{Name: "7", ID: "7"},
			{Name: "dead", ID: "2", Voter: new(true)},
			{Name: "fresh", ID: "3", Alive: true, Voter: new(false)},
			{Name: "lonely", ID: "4", Alive: true, Voter: new(false)},
			{Name: "negative", ID: "5", Alive: true},
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var answer autopilotState
			must.Do(t, json.Unmarshal([]byte(tc.answer), &answer))
			expectSame(t, "state", tc.want, must.Get(newAutopilotState(&answer))(t))
		})
	}
}

// Where autopilot has no view yet, Consul has no settings to give either, and would log an error.
func TestAutopilot_NoServers(t *testing.T) {
	t.Parallel()
	snap := snapshot(t, newTestCluster(t, Options{}, map[string]http.HandlerFunc{
		endpointAutopilotState.Path: answer(200,
			`{"Healthy":false,"FailureTolerance":0,"Servers":{},"Leader":"","Voters":[]}`),
	}))
	_, stateErr := snap.AutopilotState().Get(t.Context())
	_, configErr := snap.AutopilotConfig().Get(t.Context())
	for _, err := range []error{stateErr, configErr} {
		if err == nil || !strings.Contains(err.Error(), "read /v1/operator/autopilot/state: autopilot knows no server") {
			t.Errorf("error %v; want that autopilot knows no server", err)
		}
	}
}

func TestNewAutopilotConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]AutopilotConfig{
		autopilotConfigSeed: {new(200 * time.Millisecond), 250, 3, new(10 * time.Second), true},
		`{"CleanupDeadServers":false,"LastContactThreshold":null,"MaxTrailingLogs":1}`: {MaxTrailingLogs: 1},
	} {
		var answer api.AutopilotConfiguration
		must.Do(t, json.Unmarshal([]byte(text), &answer))
		expectSame(t, text, want, newAutopilotConfig(&answer))
	}
}

// FuzzAutopilotState reads data as what autopilot makes of the servers, and as its settings.
func FuzzAutopilotState(f *testing.F) {
	f.Add([]byte(autopilotStateSeed))
	f.Add([]byte(`{"Servers":{"a":null,"b":{"LastContact":"-1ns","LastTerm":1,"NodeStatus":"alive"}}}`))
	f.Add([]byte(`{"Servers":null}`))
	f.Add([]byte(autopilotConfigSeed))
	f.Add([]byte(`{"LastContactThreshold":null,"ServerStabilizationTime":5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var settings api.AutopilotConfiguration
		if json.Unmarshal(b, &settings) == nil {
			newAutopilotConfig(&settings)
		}
		var answer autopilotState
		if json.Unmarshal(b, &answer) != nil {
			return
		}
		state, err := newAutopilotState(&answer)
		if (err == nil) != (len(state.Servers) > 0) || len(state.Servers) > len(answer.Servers) {
			t.Fatalf("%d servers, error %v", len(state.Servers), err)
		}
		for _, s := range state.Servers {
			if s.LastContact != nil && *s.LastContact < 0 {
				t.Errorf("%s heard of the leader %s ago", s.Name, *s.LastContact)
			}
		}
	})
}
