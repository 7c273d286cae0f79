// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/streamtest"
	"github.com/zervigo/consul_cluster_exporter/telemetry"
)

// Whatever an agent says about itself and the cluster, it is read or an error, and what comes of it is a number.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"Config":{"NodeName":"a","Server":true},"DebugConfig":{"HTTPPort":-1,"Telemetry":{"MetricsPrefix":"x",
			"BlockedPrefixes":["x.rpc"]}},
			"Stats":{"raft":{"state":"Leader","term":"2","commit_index":"1","applied_index":"1","fsm_pending":"0",
				"last_snapshot_index":"0","last_snapshot_term":"0"},
			"serf_lan":{"encrypted":"true","health_score":"0","event_queue":"1"}}}`,
		`{"Gauges":[{"Name":"consul.h.runtime.alloc_bytes","Value":1}],"Counters":[{"Name":"consul.rpc.request","Rate":0.1,
			"Sum":1}],"Samples":[{"Name":"consul.raft.commitTime","Mean":1,"Max":2,"Labels":{"a":"b"}}]}`,
		`[{"Name":"a","Addr":"10.0.0.1","Status":1,"Tags":{"role":"consul","port":"8300","id":"1","dc":"dc1"}},{"Name":"b",
			"Tags":{"role":"consul"},"Status":4}]`,
		`{"Servers":[{"ID":"1","Node":"a","Address":"10.0.0.1:8300","Voter":true},null,{"Address":"::"}]}`,
		`[{"Name":"east","State":"ACTIVE","StreamStatus":{"LastHeartbeat":"2026-01-02T03:04:05Z"}}]`,
		`{"ActiveRootID":"a","TrustDomain":"x.consul","Roots":[{"ID":"a","Name":"A","NotAfter":"2036-01-02T03:04:05Z",
			"RootCert":"-----BEGIN CERTIFICATE-----"},null]}`,
		`{"Config":{"NodeName":"a"},"Stats":{"serf_lan":` + serfSeed + `,"serf_wan":null}}`,
		`{"Config":{"NodeName":"a"},"DebugConfig":{"DisableCoordinates":true},"Stats":{"serf_wan":{"event_queue":"x"}}}`,
		coordinatesSeed, `[null,{"Node":"server-1"},{"Node":"server-2","Coord":{"Vec":null}},{"Node":"server-1",
			"Coord":{"Vec":[1e300]}}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzAgent(t, data)
		fuzzRoots(t, data)
		fuzzTopology(data)
		at, _ := coordinatesIn(string(data))
		for _, rtt := range at.roundTrips([]string{"server-1", "server-2", "server-3"}) {
			if rtt.From >= rtt.To || rtt.Seconds < 0 {
				t.Errorf("got %+v", rtt)
			}
		}
		for _, p := range fuzzList(data, newPeering) {
			if p.State == "" {
				t.Errorf("%+v has no state", p)
			}
		}
	})
}

// fuzzAgent reads data as what an agent says about itself, and as its telemetry.
func fuzzAgent(t *testing.T, data []byte) {
	t.Helper()
	var self agentSelf
	var agent Agent
	if json.Unmarshal(data, &self) == nil {
		var err error
		if agent, err = newAgent(&self); err == nil && agent.Name == "" {
			t.Error("the agent has no name")
		}
		pools, err := agent.SerfPools() // Part of it may be readable.
		if len(pools) == 0 && err != nil {
			t.Errorf("no pools and error %v", err)
		}
		for _, p := range pools {
			if (p.Name != "lan" && p.Name != "wan") || len(p.QueueDepths) > 3 {
				t.Errorf("pool is %+v", p)
			}
		}
	}
	var answer telemetry.Answer
	if json.Unmarshal(data, &answer) != nil {
		return
	}
	read := answer.Figures(&agent.telemetry)
	if v, ok := read.Gauge("runtime.alloc_bytes"); ok {
		expectNumber(t, "gauge", v)
	}
	if v, ok := read.Rate("rpc.request"); ok {
		expectNumber(t, "rate", v)
	}
	for _, m := range read.Samples("raft.commitTime") {
		expectNumber(t, "sample", m.Mean+m.Max)
	}
}

// fuzzRoots reads data as the roots of the service mesh. Those that are no certificates are an error, but have a name
// and an end all the same.
func fuzzRoots(t *testing.T, data []byte) {
	t.Helper()
	var list api.CARootList
	if json.Unmarshal(data, &list) != nil {
		return
	}
	if ca, err := newMeshCA(&list); (ca == nil) == (err == nil) {
		t.Errorf("authority %v, error %v", ca, err)
	}
	if roots := newMeshRoots(&list); len(roots) > len(list.Roots) {
		t.Errorf("%d roots of %d", len(roots), len(list.Roots))
	}
}

// fuzzTopology reads data as members and as a Raft configuration, and puts the two together.
func fuzzTopology(data []byte) {
	var config api.RaftConfiguration
	var peers []RaftPeer
	if json.Unmarshal(data, &config) == nil {
		for _, s := range config.Servers {
			if s != nil {
				peers = append(peers, newRaftPeer(s))
			}
		}
	}
	newTopology(fuzzList(data, newMember), peers)
}

// fuzzList reads data as a list, as far as it is one.
func fuzzList[In, Out any](data []byte, convert func(*In) Out) (list []Out) {
	d := consul.NewJSONReader(bytes.NewReader(data), new(consul.Options).NewBudget())
	_ = decodeList(&list, convert)(&d)
	return list
}

func expectNumber(t *testing.T, what string, v float64) {
	t.Helper()
	if math.IsNaN(v) {
		t.Errorf("%s is no number", what)
	}
}

// Only numbers come of keys, and those that consul_exporter reads.
func FuzzDecodeKeys(f *testing.F) {
	f.Add([]byte(`[{"Key":"a","Value":"NDI="},{"Key":"b","Value":null},{"Key":"c","Value":"!"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		numbers, err := decodeKeys(bytes.NewReader(data), new(consul.Options).NewBudget())
		if err == nil && len(numbers) > len(data) {
			t.Errorf("%d numbers in %d bytes: %s", len(numbers), len(data), fmt.Sprint(numbers))
		}
	})
}

func FuzzStreams(f *testing.F) { streamtest.Fuzz(f, streamDecoders) }
