// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// last returns the latest record's reasons and error as one text.
func (b *bench) last() string {
	b.t.Helper()
	records, _, err := b.history.query(filter{limit: 1})
	must(b.t, err)
	return strings.Join(append(records[0].Reasons, records[0].Error), " ")
}

func (b *bench) expectReason(want string) {
	b.t.Helper()
	if got := b.last(); !strings.Contains(got, want) {
		b.t.Errorf("the reason is %q; want %q in it", got, want)
	}
}

// However often an alert is delivered, in whatever order, by whom, and with restarts in between, it leads to one
// action.
func TestDecide_Once(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alert := b.alert("server-2", 5*time.Minute)
	over := alert
	over.Firing, over.EndsAt = false, b.clock.Add(time.Second)
	elsewhere := alert // Another Prometheus began to see it at another time.
	elsewhere.StartsAt = alert.StartsAt.Add(time.Minute)
	earlier := alert
	earlier.StartsAt = alert.StartsAt.Add(-time.Minute)
	b.deliver(alert, alert)
	for range 10 {
		b.clock = b.clock.Add(10 * time.Minute)
		b.deliver(elsewhere, alert)
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

// An alert that Prometheus dates into the future is also one alert.
func TestDecide_ClocksDiffer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alert := b.alert("server-2", -time.Hour)
	for range 3 {
		b.deliver(alert)
		b.clock = b.clock.Add(10 * time.Minute)
		b.restart()
	}
	b.expect([]string{"server-2"}, ResultDone)
}

// An alert that is known to be over is not acted on when its delivery comes late, nor when it is over before its turn.
func TestDecide_Resolved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alert := b.alert("server-2", time.Minute)
	over := alert
	over.Firing, over.EndsAt = false, b.clock
	b.deliver(over)
	b.deliver(alert)
	waiting := b.alert("server-3", time.Minute)
	gone := waiting
	gone.Firing, gone.EndsAt = false, b.clock
	b.enqueue(waiting)
	b.enqueue(gone)
	b.work()
	b.expect(nil)
}

// Wherever the responder is killed in the middle of an action, it is not made again.
func TestDecide_Crash(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alert := b.alert("server-2", time.Minute)
	var during []byte
	b.deeds.during = func() {
		var err error
		during, err = os.ReadFile(b.config.File)
		must(t, err)
		if !strings.Contains(string(during), `"result":"started"`) || !strings.HasSuffix(string(during), "\n") {
			t.Errorf("the action is made, and the history has %q; want that it has started", during)
		}
	}
	b.deliver(alert)
	whole, err := os.ReadFile(b.config.File)
	must(t, err)
	b.deeds.during = nil
	for n := len(historyHeader) + 1; n <= len(whole); n++ {
		if n%16 != 0 && n != len(during)-1 && n != len(during) && n != len(during)+1 && n < len(whole)-1 {
			continue
		}
		must(t, b.Close())
		must(t, os.WriteFile(b.config.File, whole[:n], 0o600))
		b.deeds.runs = nil
		b.restart()
		b.clock = b.clock.Add(2 * time.Minute) // What was under way is over.
		b.deliver(alert)
		switch {
		case n < len(during): // It had not begun.
			b.expect([]string{"server-2"}, ResultDone)
		case n < len(whole):
			b.expect(nil, ResultUnknown)
			b.expectReason("the responder was killed before it knew how the action ended; it is not made again")
		default:
			b.expect(nil, ResultDone)
		}
		b.clock = b.clock.Add(-2 * time.Minute)
	}
}

// While an action from before a restart may still be under way, there is no other one.
func TestDecide_InterruptedIsPending(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.deeds.during = func() { // As much as there is when it is killed now.
		content, err := os.ReadFile(b.config.File)
		must(t, err)
		must(t, os.WriteFile(b.config.File+"-killed", content, 0o600))
	}
	b.deliver(b.alert("server-2", time.Minute))
	must(t, b.Close())
	must(t, os.Rename(b.config.File+"-killed", b.config.File))
	b.deeds.during, b.deeds.runs = nil, nil
	b.rules[0].cooldown = time.Second
	b.restart()
	b.clock = b.clock.Add(10 * time.Second)
	b.deliver(b.alert("server-3", time.Minute))
	b.expect(nil, ResultUnknown, ResultRefused)
	b.expectReason("An action from before a restart may be under way until 2026-11-25T12:01:00Z.")
	b.clock = b.clock.Add(time.Minute)
	b.deliver(b.alert("server-3", time.Minute))
	b.expect([]string{"server-3"}, ResultUnknown, ResultRefused, ResultDone)
}

// What arrives while an action is under way is refused, and gets its turn at its next delivery.
func TestDecide_Pending(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.rules[0].cooldown = time.Second
	other := b.alert("server-3", time.Minute)
	b.deeds.during = func() {
		b.clock = b.clock.Add(5 * time.Second)
		b.enqueue(other)
		b.clock = b.clock.Add(5 * time.Second)
	}
	b.deliver(b.alert("server-2", time.Minute))
	b.expect([]string{"server-2"}, ResultDone, ResultRefused)
	b.expectReason("Another action was under way when the alert arrived.")
	b.deeds.during = nil
	b.deliver(other)
	b.expect([]string{"server-2", "server-3"}, ResultDone, ResultRefused, ResultDone)

	b.enqueue(b.alert("server-1", time.Minute))
	b.clock = b.clock.Add(2 * time.Minute)
	b.work()
	b.expectReason("The alert has waited for 2m0s, and may be out of date.")
}

// Cooldown and limits hold across restarts, failed actions count, and refusals do not.
func TestDecide_Limits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.maximum = 3
	second := b.rule("second")
	second.matchers[0].value = "B"
	b.rules = append(b.rules, second)
	b.rules[0].maxPerHour = 2
	b.restart()
	next := func(name string, wait time.Duration) {
		t.Helper()
		b.clock = b.clock.Add(wait)
		alert := b.alert("server-2", 0)
		alert.Labels["alertname"] = name
		b.deliver(alert)
		b.restart()
	}
	b.deeds.err = errFake
	next("A", 0)
	b.expect([]string{"server-2"}, ResultFailed)
	b.expectReason("it broke")
	b.deeds.err = context.DeadlineExceeded
	next("A", 59*time.Second)
	b.expectReason("The rule acted at 2026-11-25T12:00:00Z, and its cooldown is over in 1s.")
	next("A", time.Second)
	b.deeds.err = nil
	next("A", time.Minute)
	b.expectReason("The rule acted 2 times in the last hour, and may 2 times.")
	next("B", time.Minute)
	next("B", time.Minute)
	b.expectReason("All rules together acted 3 times in the last hour, and may 3 times.")
	b.expect([]string{"server-2", "server-2", "server-2"}, ResultFailed, ResultCooldown, ResultTimeout, ResultCooldown, ResultDone, ResultCooldown)
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
// rule does.
func TestDecide_FirstRule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.rules[0].action.(*fakeAction).notFor = "server-1"
	b.rules = append(b.rules, b.rule("second"))
	b.restart()
	b.deliver(b.alert("server-1", time.Minute), b.alert("server-2", time.Minute))
	records, _, err := b.history.query(filter{limit: 9})
	must(t, err)
	if len(records) != 2 || records[1].Rule != "second" || records[0].Rule != "act" || records[0].Result != ResultDone || records[1].Result != ResultDone {
		t.Errorf("records %+v; want the second rule for server-1 and the first for server-2", records)
	}
	b.view = healthyView(3).kill(3)
	b.clock = b.clock.Add(time.Hour)
	b.deliver(b.alert("server-2", time.Second))
	b.expect([]string{"server-1", "server-2"}, ResultDone, ResultDone, ResultRefused)
	b.expectReason("Without server-2 1 of 3 voters can be counted on, and the quorum is 2.")
	b.rules[1].action.(*fakeAction).notFor = "server-1"
	b.deliver(b.alert("server-1", time.Second))
	b.expectReason("Not for this server.")
}

// What was refused is tried again at the next delivery.
func TestDecide_RefusedThenAllowed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	alert := b.alert("server-2", time.Minute)
	b.view = healthyView(3).hang(3)
	b.deliver(alert)
	b.view = healthyView(3)
	b.deliver(alert)
	b.deliver(alert)
	b.expect([]string{"server-2"}, ResultRefused, ResultDone)
}

// A dry run decides as if it acted, once for each alert and within the limits, does nothing, and does not stand in
// the way later.
func TestDecide_DryRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.rules[0].dryRun = true
	b.rules = append(b.rules, b.rule("second")) // Is not the one, also when the dry run is over.
	alert := b.alert("server-2", time.Minute)
	b.deliver(alert)
	b.deliver(alert, b.alert("server-3", time.Minute))
	b.restart()
	b.deliver(alert)
	b.expect(nil, ResultDryRun, ResultCooldown)
	records, _, err := b.history.query(filter{limit: 1, result: string(ResultDryRun)})
	must(t, err)
	if r := records[0]; !r.DryRun || r.What != "fake server-2" || r.Quorum == nil || *r.Quorum != (QuorumRecord{3, 3, 2, 2, 3, 2}) {
		t.Errorf("the dry run is %+v; want what would be done, and the quorum", r)
	}
	b.rules[0].dryRun = false
	b.restart()
	b.deliver(alert)
	b.expect([]string{"server-2"}, ResultDryRun, ResultCooldown, ResultDone)
}

// Without a history nothing is done.
func TestDecide_HistoryBroken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	must(t, b.history.file.Close())
	b.deliver(b.alert("server-2", time.Minute))
	if len(b.deeds.runs) > 0 {
		t.Error("it was done, and could not be written before")
	}
}

// The queue has an end, and after it the deliverer has to come again.
func TestReceive_Full(t *testing.T) {
	t.Parallel()
	b := newBench(t)
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
