// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// endpointTelemetry answers with what the agent measured in its last full interval of ten seconds, even without
// metrics for Prometheus (Consul: AgentHTTPHandlers.AgentMetrics; hashicorp/go-metrics: InmemSink.DisplayMetrics).
var endpointTelemetry = consul.Endpoint{Path: "/v1/agent/metrics", Settles: telemetryWait}

// Telemetry is what the configured agent measured of itself in its last full interval of ten seconds. Names are those
// of Consul's documentation without "consul.", such as "rpc.request".
type Telemetry struct {
	Agent Agent // Who measured.

	gauges            map[string]float64
	counters, samples map[string][]Measurement
	measured          bool // Whether there is anything at all; an agent that has just started has nothing.
}

// Measurement sums up the values of a sample or counter during the interval.
type Measurement struct {
	Labels map[string]string
	// Rate is the sum of the values per second.
	Rate, Sum, Max, Mean float64
}

// telemetryAnswer is the part of the answer that is used.
type telemetryAnswer struct {
	Gauges            []gauge
	Counters, Samples []namedMeasurement
}

type gauge struct {
	Name  string
	Value float64
}

type namedMeasurement struct {
	Name string
	Measurement
}

// telemetryConfig is the agent's configuration of it.
type telemetryConfig struct {
	MetricsPrefix                    string
	FilterDefault                    *bool
	AllowedPrefixes, BlockedPrefixes []string
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
		answer, remote, err := s.telemetryAnswer(ctx, &agent)
		if err != nil {
			return Telemetry{}, err
		}
		if remote != nil && !agent.listensAt(remote) {
			return s.telemetryOfOne(ctx)
		}
		return newTelemetry(agent, answer), nil
	})
}

// telemetryAnswer reads the telemetry of this agent, unless it may not be asked yet, and from where it came.
func (s *Snapshot) telemetryAnswer(ctx context.Context, agent *Agent) (*telemetryAnswer, net.Addr, error) {
	var answer telemetryAnswer
	up := s.before.uptimes[agent.key()].with(agent, s.start)
	if !up.settled(time.Now(), s.cluster.opts.TelemetryWait) {
		return &answer, nil, nil
	}
	var conn connection
	err := s.stream(conn.trace(ctx), endpointTelemetry, s.newBudget(), answer.decode)
	return &answer, conn.remote(), err
}

// decode reads the answer part by part.
func (t *telemetryAnswer) decode(d *consul.JSONReader) error {
	return d.Object(func(key []byte) error {
		switch string(key) {
		case "Gauges":
			return decodeMeasured(d, &t.Gauges)
		case "Counters":
			return decodeMeasured(d, &t.Counters)
		case "Samples":
			return decodeMeasured(d, &t.Samples)
		default:
			return d.SkipValue()
		}
	})
}

// labelsFactor bounds how many times more memory labels take than they have letters.
const labelsFactor = 8

func decodeMeasured[T any](d *consul.JSONReader, list *[]T) error {
	return d.List(func() error {
		var v T
		before := d.InputOffset()
		err := d.Element(&v)
		if err == nil {
			err = d.Memory.Spend(labelsFactor * (d.InputOffset() - before))
		}
		if err == nil {
			*list, err = consul.Keep(d.Memory, *list, v)
		}
		return err
	})
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
	return uptimes
}

// with returns it with what the agent has said about itself.
func (u uptime) with(a *Agent, now time.Time) uptime {
	leads := a.Raft != nil && a.Raft.State == RaftLeader
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

func newTelemetry(agent Agent, answer *telemetryAnswer) Telemetry {
	prefix := agent.telemetry.prefix()
	t := Telemetry{
		Agent:    agent,
		gauges:   make(map[string]float64),
		counters: byName(answer.Counters, prefix),
		samples:  byName(answer.Samples, prefix),
		measured: len(answer.Gauges)+len(answer.Counters)+len(answer.Samples) > 0,
	}
	for _, g := range answer.Gauges {
		if name, ok := strings.CutPrefix(g.Name, prefix); ok && finite(g.Value) {
			t.gauges[name] = g.Value
		}
	}
	return t
}

// byName returns the measurements by their names without the prefix.
func byName(all []namedMeasurement, prefix string) map[string][]Measurement {
	named := make(map[string][]Measurement)
	for _, m := range all {
		if name, ok := strings.CutPrefix(m.Name, prefix); ok && m.valid() {
			named[name] = append(named[name], m.Measurement)
		}
	}
	return named
}

// valid reports whether all figures are numbers that can be: nothing that is looked up is ever negative.
func (m *Measurement) valid() bool {
	return !slices.ContainsFunc([]float64{m.Rate, m.Sum, m.Max, m.Mean}, func(v float64) bool {
		return !finite(v) || v < 0
	})
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Gauge returns a gauge that the agent set in the interval. By default, agents put their host name before the names
// of gauges: "consul.web-1.example.runtime.alloc_bytes" (Consul: telemetry.disable_hostname).
func (t *Telemetry) Gauge(name string) (value float64, ok bool) {
	if value, ok = t.gauges[name]; ok {
		return value, true
	}
	for full, v := range t.gauges {
		if host, found := strings.CutSuffix(full, "."+name); found && host != "" {
			return v, true
		}
	}
	return 0, false
}

// Rate returns how often something was counted per second, with all labels together. Consul only reports what it did
// count: what is missing was not counted, unless the agent's filter leaves it out or the agent has not measured yet.
func (t *Telemetry) Rate(name string) (perSecond float64, ok bool) {
	return t.total(name, func(m *Measurement) float64 { return m.Rate })
}

// Sum returns how often something was counted in the interval; see Rate.
func (t *Telemetry) Sum(name string) (sum float64, ok bool) {
	return t.total(name, func(m *Measurement) float64 { return m.Sum })
}

func (t *Telemetry) total(name string, figure func(*Measurement) float64) (total float64, ok bool) {
	counters, ok := t.counters[name]
	for i := range counters {
		total += figure(&counters[i])
	}
	return total, ok || (t.measured && t.Agent.telemetry.allows(name))
}

// Samples returns the measurements of this name, one for each set of labels.
func (t *Telemetry) Samples(name string) []Measurement { return t.samples[name] }

// prefix is what all names begin with.
func (c *telemetryConfig) prefix() string { return cmp.Or(c.MetricsPrefix, "consul") + "." }

// allows reports whether the agent's filter passes a metric: the longest prefix decides (go-metrics: allowMetric).
func (c *telemetryConfig) allows(name string) bool {
	full := c.prefix() + name
	allowed, longest := c.FilterDefault == nil || *c.FilterDefault, -1
	for _, rules := range []struct {
		prefixes []string
		allow    bool
	}{{c.AllowedPrefixes, true}, {c.BlockedPrefixes, false}} {
		for _, p := range rules.prefixes {
			if strings.HasPrefix(full, p) && len(p) > longest {
				allowed, longest = rules.allow, len(p)
			}
		}
	}
	return allowed
}
