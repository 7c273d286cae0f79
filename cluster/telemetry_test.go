// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A server is asked only when it has been up for a while, and when it has not led for a while; a client at once.
func TestUptime(t *testing.T) {
	t.Parallel()
	start := time.Unix(1e9, 0)
	var u uptime
	leader := Agent{Server: true, Raft: &RaftStats{State: RaftLeader}}
	follower := Agent{Server: true, Raft: &RaftStats{State: RaftFollower}}
	for _, step := range []struct {
		at    time.Duration
		agent *Agent // nil: it does not answer.
		want  bool
	}{
		{0, &follower, false},
		{24 * time.Second, &follower, false},
		{25 * time.Second, &follower, true},
		{30 * time.Second, &leader, true},
		{40 * time.Second, &follower, false},
		{64 * time.Second, &follower, false},
		{65 * time.Second, &leader, true},
		{70 * time.Second, nil, false},
		{80 * time.Second, &leader, false},
		{105 * time.Second, &leader, true},
		{106 * time.Second, &Agent{}, true},
	} {
		now := start.Add(step.at)
		if step.agent == nil {
			u = uptime{}
			continue
		}
		u = u.with(step.agent, now)
		if got := u.settled(now, telemetryWait); got != step.want {
			t.Errorf("after %s: %v; want %v", step.at, got, step.want)
		}
	}
	if !(uptime{}).with(&Agent{}, start).settled(start, telemetryWait) {
		t.Error("a client has to wait")
	}
}

func TestTelemetryNames(t *testing.T) {
	t.Parallel()
	const alloc = "consul.runtime.alloc_bytes"
	filter := func(allowed, blocked string) telemetryConfig {
		return telemetryConfig{AllowedPrefixes: strings.Fields(allowed), BlockedPrefixes: strings.Fields(blocked)}
	}
	for _, tc := range []struct {
		name   string
		config telemetryConfig
		// gauge is the name under which a gauge comes, counters whether what was not counted is known not to be.
		gauge string
		there bool
		rate  bool
	}{
		{"plain", telemetryConfig{}, alloc, true, true},
		{"host", telemetryConfig{}, "consul.web-1.runtime.alloc_bytes", true, true},
		{"host with dots", telemetryConfig{}, "consul.web-1.example.com.runtime.alloc_bytes", true, true},
		{"prefix", telemetryConfig{MetricsPrefix: "my.consul"}, "my.consul.web-1.runtime.alloc_bytes", true, true},
		{"another prefix", telemetryConfig{MetricsPrefix: "mine"}, alloc, false, true},
		{"another name", telemetryConfig{}, "consul.xruntime.alloc_bytes", false, true},
		{"default of the filter", telemetryConfig{FilterDefault: new(false)}, alloc, true, false},
		{"blocked", filter("", "consul.rpc"), alloc, true, false},
		{"blocked and allowed", filter("consul.rpc.request", "consul.rpc"), alloc, true, true},
		{"allowed and blocked", filter("consul", "consul.rpc.r"), alloc, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var answer telemetryAnswer
			must.Do(t, json.Unmarshal([]byte(`{"Gauges":[{"Name":"`+tc.gauge+`","Value":7}]}`), &answer))
			telemetry := newTelemetry(Agent{telemetry: tc.config}, &answer)
			if v, ok := telemetry.Gauge("runtime.alloc_bytes"); ok != tc.there || (ok && v != 7) {
				t.Errorf("gauge is %v (there: %v); want it there: %v", v, ok, tc.there)
			}
			if v, ok := telemetry.Rate("rpc.request"); ok != tc.rate || v != 0 {
				t.Errorf("rate is %v (there: %v); want 0 there: %v", v, ok, tc.rate)
			}
		})
	}
	nothing := newTelemetry(Agent{}, &telemetryAnswer{})
	if _, ok := nothing.Rate("rpc.request"); ok {
		t.Error("an agent that has measured nothing has a rate")
	}
}
