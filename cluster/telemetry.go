// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"net"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/telemetry"
)

// endpointTelemetry answers with what the agent measured in its last full interval of ten seconds, even without
// metrics for Prometheus (Consul: AgentHTTPHandlers.AgentMetrics; hashicorp/go-metrics: InmemSink.DisplayMetrics).
var endpointTelemetry = consul.Endpoint{Path: "/v1/agent/metrics", Settles: telemetryWait}

// Telemetry is what the configured agent measured of itself in its last full interval of ten seconds.
type Telemetry struct {
	Agent Agent // Who measured.
	telemetry.Figures
}

// Telemetry is that of the agent in use; nothing is in it until the agent may be asked, see uptime. Behind a balancer
// it is that of an agent which provably measured it.
func (s *Snapshot) Telemetry() *Fact[Telemetry] {
	return s.telemetry.Start(s.ctx, func(ctx context.Context) (Telemetry, error) {
		agent, err := s.Agent().Get(ctx)
		if err != nil {
			return Telemetry{}, err
		}
		if !agent.direct || s.balanced() {
			return s.telemetryOfOne(ctx)
		}
		answer, remote, err := s.telemetryAnswer(ctx, s.Address(), &agent)
		if err != nil {
			return Telemetry{}, err
		}
		if remote != nil && !agent.listensAt(remote) {
			return s.telemetryOfOne(ctx)
		}
		return Telemetry{agent, answer.Figures(&agent.telemetry)}, nil
	})
}

// telemetryAnswer reads the telemetry of this agent at this address, unless it may not be asked yet, and from where it
// came.
func (s *Snapshot) telemetryAnswer(
	ctx context.Context, at consul.Address, agent *Agent,
) (*telemetry.Answer, net.Addr, error) {
	var answer telemetry.Answer
	up := s.before.uptimes[agent.key()].with(agent, s.start)
	if !up.settled(time.Now(), s.cluster.opts.TelemetryWait) {
		return &answer, nil, nil
	}
	var conn connection
	err := s.streamAt(conn.trace(ctx), at, endpointTelemetry, s.newBudget(), answer.Decode)
	return &answer, conn.remote(), err
}

// uptime is how long an agent has been up, and how long ago it stopped leading, as far as the scrapes have seen. The
// zero value means down.
//
// After both, a server sets some gauges to NaN, which it cannot encode: for up to two intervals of its telemetry it
// answers with status 500 and logs an error (Consul: agent/consul/leader_metrics.go). So it is not asked meanwhile.
type uptime struct {
	since         time.Time
	client, leads bool
}

// telemetryWait is a little longer than two intervals.
const telemetryWait = 25 * time.Second

// learnedUptimes returns the uptimes with what the agents of the scrape reported.
func (s *Snapshot) learnedUptimes(k map[string]uptime) map[string]uptime {
	uptimes := make(map[string]uptime, len(k)+1)
	if len(k) <= maxServers {
		maps.Copy(uptimes, k)
	}
	note := func(a *Agent) { uptimes[a.key()] = k[a.key()].with(a, s.start) }
	for _, t := range s.agentsAsked() {
		agent, err := t.self.Get(t.ctx)
		switch last := t.before.agent; {
		case !t.self.Asked(), probe.IsOwnFault(err):
		case err == nil:
			note(&agent)
		case last != nil:
			delete(uptimes, last.key())
		}
	}
	if measured, ok := s.telemetry.Peek(); ok {
		note(&measured.Agent)
	}
	servers, _ := s.serverAgents.Peek()
	for _, agent := range servers {
		note(&agent)
	}
	return uptimes
}

// with returns it with what the agent has said about itself.
func (u uptime) with(a *Agent, now time.Time) uptime {
	leads := a.Leads()
	if u.since.IsZero() || (u.leads && !leads) {
		u.since = now
	}
	u.client, u.leads = !a.Server, leads
	return u
}

// settled reports whether the agent may be asked for its telemetry.
func (u uptime) settled(now time.Time, wait time.Duration) bool {
	return u.client || now.Sub(u.since) >= wait
}
