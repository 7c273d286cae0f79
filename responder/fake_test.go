// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// healthyView is a cluster of n servers that server-1 leads.
func healthyView(n int) *view {
	v := &view{}
	in, topology := &v.stop, &v.stop.Topology
	in.MaxTrailingLogs, topology.MembersKnown, topology.RaftKnown = inputs.DefaultMaxTrailingLogs, true, true
	in.MinQuorum = new(uint)
	in.Autopilot, in.Consistent = &cluster.AutopilotState{}, &cluster.ConsistentRead{OK: true}
	for i := 1; i <= n; i++ {
		s := reporttest.Server(i)
		peer := cluster.RaftPeer{ID: s.ID, Name: s.Name, Address: s.RPCAddress, Voter: true}
		in.Reports = append(in.Reports, reporttest.Says(s, 1, n, 1000))
		topology.Servers, topology.Peers = append(topology.Servers, s), append(topology.Peers, peer)
		in.Autopilot.Servers = append(in.Autopilot.Servers, cluster.AutopilotServer{ID: s.ID, Name: s.Name, Healthy: true})
		v.death.Leader.Servers = append(v.death.Leader.Servers,
			cluster.AutopilotServer{ID: s.ID, Name: s.Name, Healthy: true, Alive: true})
	}
	v.death.Topology, v.death.Reports = in.Topology, in.Reports
	v.death.MembersSeen, v.death.Contacts = make(map[string][]cluster.Member), make(map[string]bool)
	for _, by := range topology.Peers {
		v.death.Contacts[by.ID] = true
		for _, p := range topology.Peers {
			v.death.MembersSeen[by.ID] = append(v.death.MembersSeen[by.ID],
				cluster.Member{ID: p.ID, Status: cluster.StatusAlive})
		}
	}
	return v
}

// kill makes a server of a view dead: nothing listens on its ports.
func (v *view) kill(i int) *view {
	v.stop.Reports[i-1].Server.Status = cluster.StatusFailed
	id := reporttest.Server(i).ID
	v.death.Leader.Servers[i-1] = cluster.AutopilotServer{ID: id}
	delete(v.death.MembersSeen, id)
	delete(v.death.Contacts, id)
	for _, seen := range v.death.MembersSeen {
		seen[i-1].Status = cluster.StatusFailed
	}
	return v.down(i, probe.ReasonRefused, probe.PhaseConnect)
}

// hang makes a server accept connections and answer none.
func (v *view) hang(i int) *view {
	return v.down(i, probe.ReasonTimeout, probe.PhaseConnect, probe.PhaseRequest)
}

// down makes port 8300 of a server fail for this reason in the last of these phases.
func (v *view) down(i int, reason probe.Reason, phases ...probe.Phase) *view {
	result := probe.Result{Reason: reason}
	for _, phase := range phases {
		result.Phases = append(result.Phases, probe.PhaseDuration{Phase: phase})
	}
	v.stop.Reports[i-1].RPC = probe.RPCResult{Result: result}
	return v
}

func about(server string) *Alert {
	return &Alert{Firing: true, Labels: map[string]string{"alertname": "A", "server": server}}
}

// fakeAction is judged as exec is, and does nothing.
type fakeAction struct {
	guards
	*fixture
	// notFor is the server that it does not apply to.
	notFor string
}

func (*fakeAction) name() string           { return "fake" }
func (*fakeAction) guarded() bool          { return true }
func (*fakeAction) timeout() time.Duration { return time.Minute }

func (f *fakeAction) applies(a *Alert, _ *view) string {
	if a.server() == f.notFor {
		return "Not for this server."
	}
	return ""
}

func (f *fakeAction) judge(a *Alert, v *view) (plan, decision) {
	return plan{"fake " + a.server(), func(context.Context, func(*Process)) (string, error) {
		f.runs = append(f.runs, a.server())
		if f.during != nil {
			f.during()
		}
		return "out", f.err
	}}, f.canLose(a.server(), v)
}

// fixture is a responder with fake actions on a fake cluster, whose time the test sets.
type fixture struct {
	*Responder
	t       *testing.T
	config  HistoryConfig
	rules   []*rule
	view    *view
	clock   time.Time
	elapsed time.Duration
	looks   int
	logged  strings.Builder
	maximum int

	// runs are the servers of the fake actions that were made. err is how the next ones end; during is called meanwhile.
	runs   []string
	err    error
	during func()
}

// newFixture has the one rule that acts on alerts of this name. The test is parallel to others.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	b := &fixture{
		t: t, config: HistoryConfig{File: filepath.Join(t.TempDir(), "history"), MaxMegabytes: 1, Keep: 2},
		view: healthyView(3), clock: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), maximum: 100,
	}
	b.rules = []*rule{b.rule("act", "A")}
	b.restart()
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (b *fixture) rule(name, alert string) *rule {
	return &rule{
		RuleConfig{Name: name, Cooldown: time.Minute, MaxPerHour: 100, Window: time.Second},
		[]matcher{{label: "alertname", value: alert}},
		&fakeAction{guards{expected: 3, require: RequireConfig{MinVoters: 3}}, b, "-"},
	}
}

// restart begins with the history that there is.
func (b *fixture) restart() {
	b.t.Helper()
	if b.Responder != nil {
		_ = b.Close()
	}
	r := &Responder{
		logger: log.NewLogfmtLogger(&b.logged), rules: b.rules, maxPerHour: b.maximum,
		now:   func() time.Time { return b.clock },
		clock: clock{elapsed: func() time.Duration { return b.elapsed }},
		look:  func(context.Context) *view { b.looks++; return b.view },
	}
	must.Do(b.t, r.open(b.config))
	b.Responder = r
}

func (b *fixture) wait(d time.Duration) {
	b.elapsed += d
	b.jump(d)
}

// jump moves the clock, and no time passes.
func (b *fixture) jump(d time.Duration) { b.clock = b.clock.Add(d) }

// deliver delivers alerts, and decides on all of them.
func (b *fixture) deliver(alerts ...Alert) {
	b.t.Helper()
	b.enqueue(alerts...)
	b.work()
}

func (b *fixture) enqueue(alerts ...Alert) {
	b.t.Helper()
	must.Get(b.receive(alerts))(b.t)
}

func (b *fixture) work() {
	for next, ok := b.take(); ok; next, ok = b.take() {
		b.decide(b.t.Context(), next)
	}
	b.running.Wait()
}

// alert is one of a server that began so long ago.
func (b *fixture) alert(server string, ago time.Duration) Alert {
	a := *about(server)
	a.StartsAt = b.clock.Add(-ago)
	return a
}

// resolved is the same alert when it ends now.
func (b *fixture) resolved(a Alert) Alert {
	a.Firing, a.EndsAt = false, b.clock
	return a
}

// records are the latest ones in the history, newest first.
func (b *fixture) records(limit int) []Record {
	b.t.Helper()
	return must.Get(b.history.query(filter{limit: limit}))(b.t).Records
}

// expect compares the results in the history, oldest first, and what was done.
func (b *fixture) expect(runs []string, results ...Result) {
	b.t.Helper()
	records := b.records(1000)
	var got []Result
	for _, r := range slices.Backward(records) {
		got = append(got, r.Result)
	}
	if !slices.Equal(got, results) || !slices.Equal(b.runs, runs) {
		b.t.Errorf("results %v, done %v; want %v and %v; the last record is %+v",
			got, b.runs, results, runs, records[:min(1, len(records))])
	}
}

// expectReason looks for a text in the reasons and the error of the latest record.
func (b *fixture) expectReason(want string) {
	b.t.Helper()
	last := b.records(1)[0]
	if got := strings.Join(append(last.Reasons, last.Error), " "); !strings.Contains(got, want) {
		b.t.Errorf("the reason is %q; want %q in it", got, want)
	}
}

var errFake = errors.New("it broke")
