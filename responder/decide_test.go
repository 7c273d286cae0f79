// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// However often an alert is delivered, in whatever order, by whom, and with restarts in between, it leads to one
// action.
func TestDecide_Once(t *testing.T) {
	b := newFixture(t)
	alert := b.alert("server-2", 5*time.Minute)
	over := b.resolved(alert)
	over.EndsAt = b.clock.Add(time.Second)
	// Other Prometheus servers saw it begin at other times.
	earlier, later := b.alert("server-2", 6*time.Minute), b.alert("server-2", 4*time.Minute)
	b.deliver(alert, alert)
	for range 10 {
		b.wait(10 * time.Minute)
		b.deliver(later, alert)
		b.deliver(over)
		b.deliver(alert, earlier)
		b.deliver(over, alert)
		b.restart()
		b.deliver(alert)
	}
	b.expect([]string{"server-2"}, ResultDone)

	// When it begins again, it is another one.
	b.deliver(b.alert("server-2", time.Minute))
	b.expect([]string{"server-2", "server-2"}, ResultDone, ResultDone)
}

// While it begins within the rule's window of the one that was acted on, it is the same fault: it flaps.
func TestDecide_Window(t *testing.T) {
	b := newFixture(t)
	b.rules[0].Window = time.Hour
	first := b.alert("server-2", 2*time.Minute)
	b.deliver(first)
	for _, later := range []time.Duration{10 * time.Minute, 30 * time.Minute, 59 * time.Minute} {
		b.clock = first.StartsAt.Add(later)
		b.deliver(b.alert("server-2", time.Second))
		b.restart()
	}
	b.expect([]string{"server-2"}, ResultDone)
	b.wait(2 * time.Minute)
	b.deliver(b.alert("server-2", 0))
	b.expect([]string{"server-2", "server-2"}, ResultDone, ResultDone)
}

// An alert that cannot be what it says is refused, with the reason in the history.
func TestDecide_Stale(t *testing.T) {
	b := newFixture(t)
	over := b.alert("server-2", time.Hour)
	over.EndsAt = b.clock.Add(-10 * time.Minute)
	for _, tc := range []struct {
		alert Alert
		want  string
	}{
		{b.alert("server-2", -time.Hour), "The alert begins at 2026-11-25T13:00:00Z, in the future: a clock is wrong."},
		{b.alert("server-2", 365*24*time.Hour), "The alert began at 2025-11-25T12:00:00Z, and what it led to is remembered"},
		{over, "The alert fires, and ended at 2026-11-25T11:50:00Z."},
	} {
		b.deliver(tc.alert)
		b.expectReason(tc.want)
	}
	b.expect(nil, ResultRefused, ResultRefused, ResultRefused)
}

// Actions that the history dates into the future, and a clock that jumps, stop no rule for years.
func TestDecide_Clock(t *testing.T) {
	b := newFixture(t)
	const years = 3 * 365 * 24 * time.Hour
	b.clock = b.clock.Add(years)
	b.deliver(b.alert("server-2", 0))
	b.clock = b.clock.Add(-years)
	b.restart()
	if want := "the history has actions from the future"; !strings.Contains(b.logged.String(), want) {
		t.Errorf("the log is %s; want %q in it", b.logged.String(), want)
	}
	next := func(server string, results ...Result) {
		t.Helper()
		b.deliver(b.alert(server, 0))
		b.expect(b.runs, results...)
	}
	next("server-3", ResultDone, ResultCooldown)
	b.wait(2 * time.Minute)
	next("server-3", ResultDone, ResultCooldown, ResultDone)
	for _, jump := range []time.Duration{-years, 2 * years} {
		b.jump(jump)
		b.deliver(b.alert("server-1", 0))
		b.expectReason("and its cooldown is over in 1m0s.")
		b.wait(2 * time.Minute)
		b.deliver(b.alert("server-3", 0)) // It begins after the action, whatever that was called.
		if last := b.records(1)[0]; last.Result != ResultDone {
			t.Errorf("after a jump by %s: %+v; want it to be done again", jump, last)
		}
	}
	if n := strings.Count(b.logged.String(), "the clock has jumped"); n != 2 {
		t.Errorf("%d jumps are reported; want 2", n)
	}
}

// An action that the history dates into the future was made when it was made, however often the responder restarts: it
// is not made a repetition of the faults that began since.
func TestDecide_FutureIsLongAgo(t *testing.T) {
	b := newFixture(t)
	const years = 3 * 365 * 24 * time.Hour
	b.jump(years)
	b.deliver(b.alert("server-2", 0))
	b.jump(-years)
	b.restart()
	b.wait(2 * time.Minute)
	b.view = healthyView(3).kill(3)
	b.deliver(b.alert("server-2", 0))
	b.wait(time.Hour)
	b.view = healthyView(3)
	next := b.alert("server-2", time.Minute)
	b.restart()
	b.deliver(next)
	b.expect([]string{"server-2", "server-2"}, ResultDone, ResultRefused, ResultDone)
}

// An alert that is known to be over is not acted on when its delivery comes late, nor when it is over before its turn.
func TestDecide_Resolved(t *testing.T) {
	b := newFixture(t)
	late := b.alert("server-2", time.Minute)
	b.deliver(b.resolved(late))
	b.deliver(late)
	b.expectReason("The alert is over: it was resolved, and ended at 2026-11-25T12:00:00Z.")
	waiting := b.alert("server-3", time.Minute)
	b.enqueue(waiting)
	b.enqueue(b.resolved(waiting))
	b.work()
	b.expect(nil, ResultRefused)
	meanwhile := b.alert("server-1", time.Minute)
	b.Responder.look = func(context.Context) *view {
		b.enqueue(b.resolved(meanwhile))
		return b.view
	}
	b.deliver(meanwhile)
	b.expect(nil, ResultRefused, ResultRefused)
	b.expectReason("The alert is over: it was resolved, and ended at 2026-11-25T12:00:00Z.")
	for i := range maxResolved + 10 {
		other := b.alert(fmt.Sprint(i), time.Minute)
		b.enqueue(b.resolved(other))
	}
	if n := len(b.ledger.resolved); n > maxResolved {
		t.Errorf("%d resolved alerts are remembered; want at most %d", n, maxResolved)
	}
}

// Wherever the responder is killed in the middle of an action, it is not made again.
func TestDecide_Crash(t *testing.T) {
	b := newFixture(t)
	alert := b.alert("server-2", time.Minute)
	var during []byte
	actions := [][]byte{must.Get(os.ReadFile(b.config.actionsPath()))(t)} // As they are before, during and after it.
	b.during = func() {
		during = must.Get(os.ReadFile(b.config.File))(t)
		actions = append(actions, must.Get(os.ReadFile(b.config.actionsPath()))(t))
		if !strings.Contains(string(during), `"result":"started"`) || !strings.HasSuffix(string(during), "\n") {
			t.Errorf("the action is made, and the history has %q; want that it has started", during)
		}
	}
	b.deliver(alert)
	whole := must.Get(os.ReadFile(b.config.File))(t)
	actions = append(actions, must.Get(os.ReadFile(b.config.actionsPath()))(t))
	b.during = nil
	for n := len(historyHeader) + 1; n <= len(whole); n++ {
		if n%16 != 0 && n != len(during)-1 && n != len(during) && n != len(during)+1 && n < len(whole)-1 {
			continue
		}
		must.Do(t, b.Close())
		must.Do(t, os.WriteFile(b.config.File, whole[:n], 0o600))
		b.runs = nil
		begun := n%32 != 0 // The line of the history is the second one that is written.
		switch {
		case n < len(during) && !begun:
			must.Do(t, os.WriteFile(b.config.actionsPath(), actions[0], 0o600))
		case n < len(whole):
			must.Do(t, os.WriteFile(b.config.actionsPath(), actions[1], 0o600))
		default:
			must.Do(t, os.WriteFile(b.config.actionsPath(), actions[2], 0o600))
		}
		b.restart()
		b.wait(2 * time.Minute) // What was under way is over.
		b.deliver(alert)
		switch {
		case n < len(during) && !begun:
			b.expect([]string{"server-2"}, ResultDone)
		case n < len(whole):
			b.expect(nil, ResultUnknown)
			b.expectReason("the responder was killed before it knew how the action ended; it is not made again")
		default:
			b.expect(nil, ResultDone)
		}
		b.wait(-2 * time.Minute)
	}
}

// interrupted is the fixture after the responder was killed in the middle of an action, before it starts again.
func interrupted(t *testing.T) *fixture {
	t.Helper()
	b := newFixture(t)
	b.during = func() { // As much as there is when it is killed now.
		for _, file := range []string{b.config.File, b.config.actionsPath()} {
			must.Do(t, os.WriteFile(file+"-killed", must.Get(os.ReadFile(file))(t), 0o600))
		}
	}
	b.deliver(b.alert("server-2", time.Minute))
	must.Do(t, b.Close())
	for _, file := range []string{b.config.File, b.config.actionsPath()} {
		must.Do(t, os.Rename(file+"-killed", file))
	}
	b.during, b.runs = nil, nil
	b.rules[0].Cooldown = time.Second
	return b
}

// An action that was interrupted while the clock was hours ahead keeps others back for its time limit, not for hours.
func TestDecide_InterruptedInFuture(t *testing.T) {
	b := interrupted(t)
	b.jump(-2 * time.Hour)
	b.restart()
	b.deliver(b.alert("server-3", 0))
	b.expectReason("An action that has begun may be under way until 2026-11-25T10:01:00Z.")
	b.wait(time.Minute)
	b.deliver(b.alert("server-3", 0))
	b.expect([]string{"server-3"}, ResultUnknown, ResultRefused, ResultDone)
}

// While an action from before a restart may still be under way, there is no other one, however often it restarts.
func TestDecide_InterruptedIsPending(t *testing.T) {
	b := interrupted(t)
	b.restart()
	b.restart()
	b.wait(10 * time.Second)
	b.deliver(b.alert("server-3", time.Minute))
	b.expect(nil, ResultUnknown, ResultRefused)
	b.expectReason("An action that has begun may be under way until 2026-11-25T12:01:00Z.")
	b.wait(time.Minute)
	b.deliver(b.alert("server-3", time.Minute))
	b.expect([]string{"server-3"}, ResultUnknown, ResultRefused, ResultDone)
}

// What arrives while an action is under way is refused, and gets its turn at its next delivery.
func TestDecide_Pending(t *testing.T) {
	b := newFixture(t)
	b.rules[0].Cooldown = time.Second
	other := b.alert("server-3", time.Minute)
	b.during = func() {
		b.wait(5 * time.Second)
		b.enqueue(other)
		b.wait(5 * time.Second)
	}
	b.deliver(b.alert("server-2", time.Minute))
	b.expect([]string{"server-2"}, ResultDone, ResultRefused)
	b.expectReason("Another action was under way when the alert arrived.")
	b.during = nil
	b.deliver(other)
	b.expect([]string{"server-2", "server-3"}, ResultDone, ResultRefused, ResultDone)

	b.enqueue(b.alert("server-1", time.Minute))
	b.wait(2 * time.Minute)
	b.work()
	b.expectReason("The alert has waited for 2m0s, and may be out of date.")
}

// Cooldown and limits hold across restarts, failed actions count, and refusals do not.
func TestDecide_Limits(t *testing.T) {
	b := newFixture(t)
	b.maximum = 3
	b.rules = append(b.rules, b.rule("second", "B"))
	b.rules[0].MaxPerHour = 2
	b.restart()
	next := func(name string, wait time.Duration) {
		t.Helper()
		b.wait(wait)
		alert := b.alert("server-2", 0)
		alert.Labels["alertname"] = name
		b.deliver(alert)
		b.restart()
	}
	b.err = errFake
	next("A", 0)
	b.expect([]string{"server-2"}, ResultFailed)
	b.expectReason("it broke")
	b.err = context.DeadlineExceeded
	next("A", 59*time.Second)
	b.expectReason("The rule acted at 2026-11-25T12:00:00Z, and its cooldown is over in 1s.")
	next("A", time.Second)
	b.err = nil
	next("A", time.Minute)
	b.expectReason("The rule acted 2 times in the last hour, and may 2 times.")
	next("B", time.Minute)
	next("B", time.Minute)
	b.expectReason("All rules together acted 3 times in the last hour, and may 3 times.")
	looks := b.looks
	next("B", 50*time.Minute)
	if b.looks != looks {
		t.Error("the cluster was looked at, for a rule that may not act")
	}
	next("A", 10*time.Minute) // An hour after the first two.
	b.expect([]string{"server-2", "server-2", "server-2", "server-2"},
		ResultFailed, ResultCooldown, ResultTimeout, ResultCooldown, ResultDone, ResultCooldown, ResultCooldown, ResultDone)
}

// The first rule that matches, and whose action applies, is the one for an alert. What its guards refuse, no other
// rule does, and is tried again at the next delivery.
func TestDecide_FirstRule(t *testing.T) {
	b := newFixture(t)
	b.rules[0].action.(*fakeAction).notFor = "server-1"
	b.rules = append(b.rules, b.rule("second", "A"))
	b.restart()
	b.deliver(b.alert("server-1", time.Minute), b.alert("server-2", time.Minute))
	records := b.records(2)
	b.expect([]string{"server-1", "server-2"}, ResultDone, ResultDone)
	if records[1].Rule != "second" || records[0].Rule != "act" {
		t.Errorf("records %+v; want the second rule for server-1 and the first for server-2", records)
	}
	b.view = healthyView(3).kill(3)
	b.wait(time.Hour)
	alert := b.alert("server-2", time.Second)
	b.deliver(alert)
	b.expect([]string{"server-1", "server-2"}, ResultDone, ResultDone, ResultRefused)
	b.expectReason("Without server-2 1 of 3 voters can be counted on, and the quorum is 2.")
	b.view = healthyView(3)
	b.deliver(alert)
	b.deliver(alert)
	b.expect([]string{"server-1", "server-2", "server-2"}, ResultDone, ResultDone, ResultRefused, ResultDone)
	b.rules[1].action.(*fakeAction).notFor = "server-1"
	b.deliver(b.alert("server-1", time.Second))
	b.expectReason("Not for this server.")
}

// A dry run decides as if it acted, once for each alert and within the limits, does nothing, and does not stand in
// the way later.
func TestDecide_DryRun(t *testing.T) {
	b := newFixture(t)
	b.rules[0].DryRun = true
	b.rules = append(b.rules, b.rule("second", "A")) // Is not the one, also when the dry run is over.
	alert := b.alert("server-2", time.Minute)
	b.deliver(alert)
	b.deliver(alert, b.alert("server-3", time.Minute))
	b.restart()
	b.deliver(alert)
	b.expect(nil, ResultDryRun, ResultCooldown)
	r := b.records(2)[1]
	if diff := cmp.Diff(&QuorumRecord{3, 3, 2, 2, 3, 2}, r.Quorum); diff != "" || !r.DryRun || r.What != "fake server-2" {
		t.Errorf("the dry run is %+v; want what would be done, and the quorum (-want +got):\n%s", r, diff)
	}
	b.rules[0].DryRun = false
	b.restart()
	b.deliver(alert)
	b.expect([]string{"server-2"}, ResultDryRun, ResultCooldown, ResultDone)
}

// Without a history nothing is done.
func TestDecide_HistoryBroken(t *testing.T) {
	b := newFixture(t)
	b.rules[0].Window = time.Hour
	must.Do(t, b.history.log.close())
	b.deliver(b.alert("server-2", time.Minute))
	if len(b.runs) > 0 {
		t.Error("it was done, and could not be written before")
	}
	if n := len(b.waiting); n != 1 {
		t.Errorf("%d alerts wait; want that it is tried again once the history can be written", n)
	}
}

// However many notifications hang, a repair does not wait for them.
func TestDecide_Crowd(t *testing.T) {
	b := newFixture(t)
	tell := &rule{RuleConfig{Name: "tell", MaxPerHour: 100, Window: time.Second}, nil, &notify{rule: "tell"}}
	b.rules = append(b.rules, tell)
	b.restart()
	b.notifying = maxNotifying
	told := b.alert("server-3", time.Minute)
	told.Labels["alertname"] = "B"
	b.deliver(told)
	b.expect(nil, ResultRefused)
	b.expectReason("20 notifications are under way.")
	b.deliver(b.alert("server-2", time.Minute))
	b.expect([]string{"server-2"}, ResultRefused, ResultDone)
}

// The queue has an end, and after it the deliverer has to come again.
func TestReceive_Full(t *testing.T) {
	b := newFixture(t)
	var alerts []Alert
	for i := range maxQueue + 1 {
		a := b.alert("server-2", time.Minute)
		a.Labels["i"] = string(rune('0' + i))
		alerts = append(alerts, a)
	}
	if n, err := b.receive(alerts); n != maxQueue || !errors.Is(err, errQueueFull) {
		t.Errorf("%d alerts wait, error %v; want %d and that the queue is full", n, err, maxQueue)
	}
	if n, err := b.receive(alerts[:3]); n != 0 || err != nil {
		t.Errorf("%d alerts more, error %v; want none, as they wait already", n, err)
	}
}

// What is refused is decided on again when its reason may be gone, without another delivery, and until the rule's
// window is over. The same reason is written once.
func TestDecide_Retry(t *testing.T) {
	b := newFixture(t)
	b.rules[0].Window = 10 * time.Minute
	b.restart()
	b.view = healthyView(3).kill(3)
	b.deliver(b.alert("server-2", 0))
	for range 8 {
		b.wait(retryInterval)
		b.work()
	}
	b.expect(nil, ResultRefused)
	b.view = healthyView(3)
	b.wait(retryInterval)
	b.work()
	b.expect([]string{"server-2"}, ResultRefused, ResultDone)

	over, late := b.alert("server-1", 0), b.alert("server-3", 0)
	b.deliver(over, late)
	b.expect([]string{"server-2"}, ResultRefused, ResultDone, ResultCooldown, ResultCooldown)
	b.deliver(b.resolved(over))
	b.view = healthyView(3).kill(2)
	b.wait(9 * time.Minute)
	b.work()
	b.expectReason("1 of 3 voters can be counted on") // It is another reason.
	b.view = healthyView(3)
	b.wait(time.Minute)
	b.work()
	if n := len(b.waiting); len(b.runs) != 1 || n != 0 {
		t.Errorf("done %v, and %d alerts wait; want that the window is over", b.runs, n)
	}
}
