// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// fakeServer is server i, which is alive and has a vote.
func fakeServer(i int) cluster.Server {
	return cluster.Server{
		Name: fmt.Sprintf("server-%d", i), ID: fmt.Sprintf("id-%d", i), RPCAddress: fmt.Sprintf("10.0.0.%d:8300", i), Status: cluster.StatusAlive, Voter: true,
	}
}

// healthyView is a cluster of n servers that server-1 leads.
func healthyView(n int) *view {
	v := &view{stop: cluster.StopInput{MaxTrailingLogs: cluster.DefaultMaxTrailingLogs, Topology: cluster.Topology{MembersKnown: true, RaftKnown: true}}}
	var peers []string
	for i := 1; i <= n; i++ {
		peers = append(peers, fakeServer(i).RPCAddress)
	}
	for i := 1; i <= n; i++ {
		s := fakeServer(i)
		v.stop.Topology.Servers = append(v.stop.Topology.Servers, s)
		v.stop.Topology.Peers = append(v.stop.Topology.Peers, cluster.RaftPeer{ID: s.ID, Name: s.Name, Address: s.RPCAddress, Voter: true})
		v.stop.Reports = append(v.stop.Reports, cluster.Report{Server: s, RPC: probe.RPCResult{
			Result: probe.Result{Up: true, Verified: true},
			Raft: probe.RaftView{
				LeaderKnown: true, Leader: peers[0], PeersKnown: true, Peers: peers, StatsKnown: true, LastLogIndex: 1000, LastLogTerm: 2,
			},
		}})
		v.death.Leader.Servers = append(v.death.Leader.Servers, cluster.AutopilotServer{Name: s.Name, Healthy: true, Alive: true})
	}
	v.death.Topology, v.death.Reports = v.stop.Topology, v.stop.Reports
	return v
}

// kill makes a server of a view dead: nothing listens on its ports.
func (v *view) kill(i int) *view {
	v.stop.Reports[i-1].Server.Status = cluster.StatusFailed
	v.stop.Reports[i-1].RPC = probe.RPCResult{Result: probe.Result{Reason: probe.ReasonRefused, Phases: []probe.PhaseDuration{{Phase: probe.PhaseConnect}}}}
	v.death.Leader.Servers[i-1] = cluster.AutopilotServer{Name: fakeServer(i).Name}
	return v
}

// hang makes a server accept connections and answer none.
func (v *view) hang(i int) *view {
	v.stop.Reports[i-1].RPC = probe.RPCResult{Result: probe.Result{Reason: probe.ReasonTimeout, Phases: []probe.PhaseDuration{{Phase: probe.PhaseConnect}, {Phase: probe.PhaseRequest}}}}
	return v
}

// deeds counts what a fake action did.
type deeds struct {
	runs []string
	// err is how the next ones end, and during is called meanwhile.
	err    error
	during func()
}

// fakeAction is judged as exec is, and does nothing.
type fakeAction struct {
	guards
	deeds *deeds
	// notFor is the server that it does not apply to.
	notFor string
	free   bool
}

func (*fakeAction) name() string           { return "fake" }
func (f *fakeAction) guarded() bool        { return !f.free }
func (*fakeAction) timeout() time.Duration { return time.Minute }

func (f *fakeAction) applies(a *Alert, _ *view) string {
	if a.server() == f.notFor {
		return "Not for this server."
	}
	return ""
}

func (f *fakeAction) judge(a *Alert, v *view) (plan, ruling) {
	return plan{"fake " + a.server(), func(context.Context) (string, error) {
		f.deeds.runs = append(f.deeds.runs, a.server())
		if f.deeds.during != nil {
			f.deeds.during()
		}
		return "out", f.deeds.err
	}}, f.canLose(a.server(), v)
}

// bench is a responder with fake actions on a fake cluster, whose time the test sets.
type bench struct {
	*Responder
	t       *testing.T
	config  HistoryConfig
	rules   []*rule
	deeds   *deeds
	view    *view
	clock   time.Time
	looks   int
	maximum int
}

// newBench has the one rule that acts on alerts of this name.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, config: HistoryConfig{File: filepath.Join(t.TempDir(), "history"), MaxMegabytes: 1, Keep: 2}, deeds: &deeds{}, view: healthyView(3),
		clock: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), maximum: 100,
	}
	b.rules = []*rule{b.rule("act")}
	b.restart()
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// rule makes a rule for the alert A.
func (b *bench) rule(name string) *rule {
	b.t.Helper()
	m, err := parseMatcher(`alertname="A"`)
	must(b.t, err)
	return &rule{
		name: name, matchers: []matcher{m}, cooldown: time.Minute, maxPerHour: 100,
		action: &fakeAction{guards: guards{expected: 3, require: RequireConfig{MinVoters: 3}}, deeds: b.deeds, notFor: "-"},
	}
}

// restart begins anew on the history that there is.
func (b *bench) restart() {
	b.t.Helper()
	if b.Responder != nil {
		_ = b.Close()
	}
	r := &Responder{logger: log.NewNopLogger(), rules: b.rules, maxPerHour: b.maximum, now: func() time.Time { return b.clock }, look: func(context.Context) *view { b.looks++; return b.view }}
	must(b.t, r.open(b.config))
	b.Responder = r
}

// deliver delivers alerts, and decides on all of them.
func (b *bench) deliver(alerts ...Alert) {
	b.t.Helper()
	b.enqueue(alerts...)
	b.work()
}

func (b *bench) enqueue(alerts ...Alert) {
	b.t.Helper()
	_, err := b.receive(alerts)
	must(b.t, err)
}

func (b *bench) work() {
	b.t.Helper()
	for {
		next, ok := b.take()
		if !ok {
			return
		}
		b.decide(b.t.Context(), next)
	}
}

// alert is one of a server that began so many seconds ago.
func (b *bench) alert(server string, ago time.Duration) Alert {
	return Alert{Firing: true, Labels: map[string]string{"alertname": "A", "server": server}, StartsAt: b.clock.Add(-ago)}
}

// expect compares the results in the history, oldest first, and what was done.
func (b *bench) expect(runs []string, results ...Result) {
	b.t.Helper()
	records, _, err := b.history.query(filter{limit: 1000})
	must(b.t, err)
	slices.Reverse(records)
	var got []Result
	for _, r := range records {
		got = append(got, r.Result)
	}
	if !slices.Equal(got, results) || !slices.Equal(b.deeds.runs, runs) {
		b.t.Errorf("results %v, done %v; want %v and %v; the last record is %+v", got, b.deeds.runs, results, runs, records[max(0, len(records)-1):])
	}
}

var errFake = errors.New("it broke")
