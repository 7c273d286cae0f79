// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

const serfSeed = `{"encrypted":"true","health_score":"1","event_queue":"2","intent_queue":"3","query_queue":"4",
	"members":"3"}`

func TestSerfPools(t *testing.T) {
	t.Parallel()
	queues := map[string]uint64{"event": 2, "intent": 3, "query": 4}
	for _, tc := range []struct {
		name, lan, wan string
		want           []SerfPool
		err            string
	}{
		{name: "client", lan: serfSeed, wan: "null", want: []SerfPool{{"lan", new(uint64(1)), queues, new(true)}}},
		{
			name: "server", lan: serfSeed, wan: strings.Replace(serfSeed, "true", "false", 1),
			want: []SerfPool{{"lan", new(uint64(1)), queues, new(true)}, {"wan", new(uint64(1)), queues, new(false)}},
		},
		{
			name: "little", lan: `{"encrypted":"maybe"}`, wan: "{}",
			want: []SerfPool{{Name: "lan", QueueDepths: map[string]uint64{}}},
		},
		{
			name: "wrong", lan: `{"health_score":"good","event_queue":"-1","query_queue":"7"}`, wan: "{}",
			want: []SerfPool{{Name: "lan", QueueDepths: map[string]uint64{"query": 7}}},
			err:  `read /v1/agent/self: serf_lan figure health_score: strconv.ParseUint: parsing "good": invalid syntax`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var agent Agent
			for text, into := range map[string]*serfStats{tc.lan: &agent.serfLAN, tc.wan: &agent.serfWAN} {
				must.Do(t, json.Unmarshal([]byte(text), into))
			}
			got, err := agent.SerfPools()
			expectSame(t, "pools", tc.want, got)
			if (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v; want %q", err, tc.err)
			}
		})
	}
}
