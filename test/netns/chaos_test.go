// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// chaosRules enable all actions. An alert has labels of its own for each fault, and the window is longer than the
// chaos: it may lead to one action.
const chaosRules = `expected_servers: 5
max_per_hour: 10000
history: {file: %s/history.jsonl}
rules:
  - {name: hung, cluster: chaos, matchers: [alertname="Hung"], dry_run: false, cooldown: 1s, max_per_hour: 10000,
     window: 2h, action: {exec: {command: %s, timeout: 20s}}}
  - {name: down, cluster: chaos, matchers: [alertname="Down"], dry_run: false, cooldown: 1s, max_per_hour: 10000,
     window: 2h, action: {remove-dead-peer: {dead_for: 5s, refused_host_is_dead: true, silent_host_is_dead: true}}}
  - {name: slow, cluster: chaos, matchers: [alertname="Slow"], dry_run: false, cooldown: 1s, max_per_hour: 10000,
     window: 2h, action: {transfer-leadership: {}}}
  - {name: tell, cluster: chaos, matchers: [alertname="Tell"], dry_run: false, cooldown: 1s, max_per_hour: 10000,
     window: 2h, action: {notify: {url: "%s"}}}
`

// chaosHook takes a server out for a second, as a restart does, and says so in a log of its own.
const chaosHook = `say() {
  echo "$(date +%%s.%%N) $1 $CONSUL_RESPONDER_LABEL_server $CONSUL_RESPONDER_LABEL_episode" >> %[1]s/hooks
}
say begun
pid=$(cat "%[1]s/$CONSUL_RESPONDER_LABEL_server.pid") && [ "$(cat /proc/$pid/comm)" = consul ] && kill -STOP $pid
sleep 1
[ -n "$pid" ] && kill -CONT $pid
say ended`

const deadFor = 5 * time.Second

// A chaosFault is something that happens to one server.
type chaosFault struct {
	name string
	// begin makes it happen.
	begin func(c *chaos, a *consultest.Agent) (repair func())
	// answers is whether the server still answers its peers, and dead whether it may be taken for dead where silence and
	// refusal count.
	answers, dead bool
}

// gossipTCP is what agents send from no address of their own.
const gossipTCP = "ip saddr 127.0.0.1 tcp dport 8301 "

var chaosFaults = []chaosFault{
	{"killed", (*chaos).kill, false, true},
	{"killed", (*chaos).kill, false, true}, // Twice as often.
	{"stopped", func(c *chaos, a *consultest.Agent) func() {
		must.Do(c.t, a.Stop())
		return func() { must.Do(c.t, a.Continue()) }
	}, false, false},
	{"cut off, dropped", cutByRules("TO drop", "FROM meta l4proto { tcp, udp } drop", gossipTCP+"drop"), false, true},
	{
		"cut off, rejected", cutByRules("TO reject", "FROM meta l4proto { tcp, udp } reject", gossipTCP+"reject"),
		false, true,
	},
	{"cut off, reset", cutByRules("TO meta l4proto tcp reject with tcp reset", "TO meta l4proto udp drop",
		"FROM meta l4proto { tcp, udp } drop", gossipTCP+"drop"), false, true},
	{"cut off in one direction", cutByRules("TO drop"), false, true},
	{
		"cut off from gossip", cutByRules("TO udp dport 8301 drop", "FROM udp sport 8301 drop", gossipTCP+"drop"),
		true, false,
	},
}

func cutByRules(rules ...string) func(*chaos, *consultest.Agent) func() {
	return func(c *chaos, a *consultest.Agent) func() {
		names := strings.NewReplacer("TO", "ip daddr "+a.Addr, "FROM", "ip saddr "+a.Addr)
		var ours []string
		for _, rule := range rules {
			ours = append(ours, names.Replace(rule))
		}
		filter := harness.FilterIncoming(c.t, ours...)
		return func() { filter.Lift(c.t) }
	}
}

func (c *chaos) kill(a *consultest.Agent) func() {
	must.Do(c.t, os.Remove(c.pidFile(a)))
	must.Do(c.t, a.Kill())
	return func() {
		must.Do(c.t, a.Restart(c.t.Context()))
		c.writePid(a)
	}
}

// chaosSpan is how long a fault lasted; to is zero while it does.
type chaosSpan struct {
	fault    *chaosFault
	server   string
	from, to time.Time
	until    time.Time // When it is to be repaired.
	repair   func()
}

// chaosAlert is an alert that fires until a time.
type chaosAlert struct {
	name, server, episode string
	startsAt, until       time.Time
}

// labels are those of an alert, for harness.Firing.
func (a *chaosAlert) firing(startsAt time.Time, more ...string) map[string]any {
	labels := append([]string{"cluster", "chaos", "episode", a.episode}, more...)
	if a.server != "" {
		labels = append(labels, "server", a.server)
	}
	return harness.Firing(a.name, startsAt, labels...)
}

// chaos is a cluster of five with a responder that may do all that it can, while both break.
type chaos struct {
	t         *testing.T
	random    *rand.Rand
	cluster   *consultest.Cluster
	responder *harness.RunningResponder
	// disk has the history and little room, and folder what the hooks need and say.
	disk, folder string
	full         bool
	spans        []*chaosSpan
	alerts       []*chaosAlert
	episodes     int
	// records are those of the history, with the times before the clock jumped.
	records map[uint64]responder.Record
	counts  map[string]int
	mu      sync.Mutex
	told    []string // The alerts that were notified of. Guarded by mu.
}

func startChaos(t *testing.T) *chaos {
	t.Helper()
	harness.RequireNamespace(t)
	c := &chaos{
		t: t, random: proof.Random(t), disk: t.TempDir(), folder: t.TempDir(),
		records: make(map[uint64]responder.Record), counts: make(map[string]int),
	}
	c.cluster = harness.StartCalm(t, consultest.Options{
		Servers: 5, Config: map[string]any{"log_level": "DEBUG"}, // Which has the requests.
	})
	must.Do(t, syscall.Mount("tmpfs", c.disk, "tmpfs", 0, "size=32m")) // Of the namespace of mounts that `ip netns` makes.
	t.Cleanup(func() { must.Do(t, syscall.Unmount(c.disk, syscall.MNT_DETACH)) })
	desk := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var told struct{ Labels map[string]string }
		err := json.NewDecoder(r.Body).Decode(&told)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = append(c.told, told.Labels["episode"]+fmt.Sprint(err))
	}))
	t.Cleanup(desk.Close)
	args := []string{"responder", "--config.file=" + harness.WriteFile(t, "responder.yml",
		fmt.Sprintf(chaosRules, c.disk, harness.Script(t, fmt.Sprintf(chaosHook, c.folder)), desk.URL))}
	for _, a := range c.cluster.Servers {
		args = append(args, "--consul.server="+a.URL())
		c.writePid(a)
	}
	var start func() *harness.RunningResponder
	start = func() *harness.RunningResponder {
		return &harness.RunningResponder{
			Exporter: harness.Launch(t, os.Args[0], nil, args...), History: c.disk + "/history.jsonl", Start: start,
		}
	}
	c.responder = start()
	return c
}

func (c *chaos) pidFile(a *consultest.Agent) string { return filepath.Join(c.folder, a.Name+".pid") }

func (c *chaos) writePid(a *consultest.Agent) {
	must.Do(c.t, os.WriteFile(c.pidFile(a), []byte(strconv.Itoa(a.Pid())), 0o600))
}

func (c *chaos) chance(percent int) bool { return c.random.IntN(100) < percent }

func (c *chaos) seconds(least, most int) time.Duration {
	return time.Duration(1000*least+c.random.IntN(1000*(most-least))) * time.Millisecond
}

// run is the chaos. When it is over all is repaired, and the cluster is well.
func (c *chaos) run(lasts time.Duration) {
	for start := time.Now(); time.Since(start) < lasts; time.Sleep(c.seconds(0, 2)) { //nolint:forbidigo // Things happen.
		c.mend(time.Now())
		if n := len(c.broken()); n < []int{1, 1, 1, 1, 2, 2, 2, 3}[c.random.IntN(8)] && c.chance(20) {
			c.breakOne()
		}
		if c.chance(12) { // An alert without a fault.
			name, server := []string{"Hung", "Down", "Slow", "Tell"}[c.random.IntN(4)], c.cluster.Servers[c.random.IntN(5)].Name
			if name == "Slow" && c.chance(80) {
				server = "" // Whichever leads.
			}
			c.alert(name, server, time.Now().Add(c.seconds(5, 30)))
		}
		c.deliver()
		switch {
		case c.chance(3):
			time.Sleep(c.seconds(0, 2)) //nolint:forbidigo // Any moment may be the one.
			c.killResponder()
		case c.full && c.chance(30):
			c.empty()
		case !c.full && c.chance(3):
			c.fill()
		}
	}
	c.mend(time.Now().Add(time.Hour))
	c.empty()
	harness.Settle(c.t, c.cluster)
	c.killResponder() // What is still under way gets a result then.
	harness.WaitTrue(c.t, "all actions to have a result", func() bool {
		return len(c.responder.Records(c.t, "result", "started")) == 0
	})
	c.responder.Kill(c.t)
	c.collect()
}

// broken are the faults under way.
func (c *chaos) broken() []*chaosSpan {
	return slices.DeleteFunc(slices.Clone(c.spans), func(s *chaosSpan) bool { return !s.to.IsZero() })
}

func (c *chaos) breakOne() {
	a := c.cluster.Servers[c.random.IntN(5)]
	if slices.ContainsFunc(c.broken(), func(s *chaosSpan) bool { return s.server == a.Name }) {
		return
	}
	fault := &chaosFaults[c.random.IntN(len(chaosFaults))]
	lasts := c.seconds(8, 50)
	if fault.dead && c.chance(50) {
		lasts += 45 * time.Second // It takes Consul and the responder a while to be sure.
	}
	span := &chaosSpan{fault: fault, server: a.Name, repair: fault.begin(c, a)}
	span.from, span.until = time.Now(), time.Now().Add(lasts)
	c.t.Logf("%s %s is %s", span.from.Format(time.TimeOnly), a, fault.name)
	c.spans = append(c.spans, span)
	c.counts[fault.name]++
	for _, name := range []string{"Hung", "Down", "Tell"} {
		c.alert(name, a.Name, span.until)
	}
	if c.chance(50) {
		c.alert("Slow", "", span.until)
	}
}

func (c *chaos) alert(name, server string, until time.Time) {
	c.episodes++
	c.alerts = append(c.alerts, &chaosAlert{name, server, fmt.Sprintf("e%d", c.episodes), time.Now(), until})
}

// mend repairs what is due. What a repair begins is answered from then on.
func (c *chaos) mend(now time.Time) {
	for _, s := range c.broken() {
		if now.After(s.until) {
			s.to = time.Now()
			s.repair()
		}
	}
}

// deliver is what two Alertmanagers send that do not agree.
func (c *chaos) deliver() {
	var first, second []map[string]any
	now := time.Now()
	resolved := func(a *chaosAlert) map[string]any {
		alert := a.firing(a.startsAt)
		alert["status"], alert["endsAt"] = "resolved", now
		return alert
	}
	for _, a := range c.alerts {
		if now.After(a.until) {
			first, second = append(first, resolved(a)), append(second, resolved(a))
			continue
		}
		first = append(first, a.firing(a.startsAt))
		switch n := c.random.IntN(100); {
		case n < 3:
			second = append(second, resolved(a))
		case n < 15: // It flaps.
			second = append(second, a.firing(now))
		case n < 30:
			second = append(second, a.firing(a.startsAt), a.firing(a.startsAt.Add(-2*time.Second)))
		case n < 80:
			second = append(second, a.firing(a.startsAt.Add(-2*time.Second)))
		}
	}
	c.alerts = slices.DeleteFunc(c.alerts, func(a *chaosAlert) bool { return now.After(a.until) })
	if c.chance(15) { // Clocks are wrong, or an alert is old.
		c.episodes++
		server := c.cluster.Servers[c.random.IntN(5)].Name
		a := &chaosAlert{[]string{"Hung", "Tell"}[c.random.IntN(2)], server, fmt.Sprintf("e%d", c.episodes), now, now}
		stale := []map[string]any{
			a.firing(now.Add(time.Hour), "stale", "future"), a.firing(now.Add(-40*24*time.Hour), "stale", "old"),
			a.firing(now.Add(-time.Hour), "stale", "over"),
		}[c.random.IntN(3)]
		if stale["labels"].(map[string]string)["stale"] == "over" {
			stale["endsAt"] = now.Add(-30 * time.Minute)
		}
		second = append(second, stale)
	}
	for _, alerts := range [][]map[string]any{first, second} {
		c.counts["alerts delivered"] += len(alerts)
		c.responder.Deliver(c.t, alerts...)
	}
}

// killResponder kills the responder and starts it again. Its clock may have been hours off until then.
func (c *chaos) killResponder() {
	c.counts["the responder killed"]++
	c.responder.Kill(c.t)
	c.empty()
	c.collect()
	if c.chance(40) {
		c.counts["the clock jumped"]++
		c.shiftHistory(time.Duration([]int{-2, 2}[c.random.IntN(2)]) * time.Hour)
	}
	c.responder = c.responder.Start()
}

var recordedTime = regexp.MustCompile(`"(time|ended|deadline)":"([^"]+)"`)

// shiftHistory moves all times in the history: the machine's clock is not the test's to change.
func (c *chaos) shiftHistory(by time.Duration) {
	for _, file := range []string{c.responder.History, c.responder.History + ".actions"} {
		text := recordedTime.ReplaceAllStringFunc(string(must.Get(os.ReadFile(file))(c.t)), func(field string) string {
			m := recordedTime.FindStringSubmatch(field)
			at := must.Get(time.Parse(time.RFC3339Nano, m[2]))(c.t).Add(by)
			return fmt.Sprintf("%q:%q", m[1], at.Format(time.RFC3339Nano))
		})
		must.Do(c.t, os.WriteFile(file, []byte(text), 0o600))
	}
}

// fill leaves no room on the disk of the history, and empty makes some.
func (c *chaos) fill() {
	c.full = true
	c.counts["the disk full"]++
	file := must.Get(os.Create(c.disk + "/ballast"))(c.t)
	defer file.Close()
	for block := make([]byte, 4096); ; {
		if _, err := file.Write(block); err != nil {
			return
		}
	}
}

func (c *chaos) empty() {
	if c.full {
		must.Do(c.t, os.Remove(c.disk+"/ballast"))
	}
	c.full = false
}

// A sample of the proof responder-chaos.
func TestE2EResponderChaos(t *testing.T) {
	c := startChaos(t)
	c.run(2 * time.Minute)
	c.expect()
}
