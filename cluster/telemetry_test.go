// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"
	"time"
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
