// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// lookTakes is how old the look may be on which an action is decided, on a busy machine: a fault that began since then
// cannot have been seen.
const lookTakes = 10 * time.Second

// collect reads the history. What is known already keeps its times.
func (c *chaos) collect() {
	files := must.Get(filepath.Glob(c.responder.History + "*"))(c.t)
	slices.Sort(files)
	slices.Reverse(files) // The latest lines are in the one without a number.
	for _, file := range files {
		for line := range bytes.Lines(must.Get(os.ReadFile(file))(c.t)) {
			var r responder.Record
			if json.Unmarshal(line, &r) != nil || r.ID == 0 || strings.HasSuffix(file, ".actions") {
				continue // The header, or half a line of a killed responder.
			}
			if known, ok := c.records[r.ID]; ok {
				r.Time, r.Alert = known.Time, known.Alert
			}
			c.records[r.ID] = r
		}
	}
}

// acted are the records of an action that was made, or may have been.
func (c *chaos) acted(action string) (records []responder.Record) {
	notMade := []responder.Result{responder.ResultRefused, responder.ResultCooldown}
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		if r := c.records[id]; r.Action == action && !slices.Contains(notMade, r.Result) {
			records = append(records, r)
		}
	}
	return records
}

// expect compares what the history says with what was seen from outside.
func (c *chaos) expect() {
	c.t.Helper()
	reasons := make(map[string]bool)
	for _, r := range c.records {
		why := strings.Join(append(slices.Clone(r.Reasons), r.Error), "")
		reasons[regexp.MustCompile(`[0-9.:TZ-]+|e[0-9]+`).ReplaceAllString(why, "*")] = true
		if strings.TrimSpace(why) == "" || r.Result == responder.ResultStarted || slices.Contains(r.Reasons, "") {
			c.t.Errorf("a decision is not explained, or has no end: %+v", r)
		}
		if r.Alert.Labels["stale"] != "" && r.Result != responder.ResultRefused && r.Result != responder.ResultCooldown {
			c.t.Errorf("an alert that is out of date led to an action: %+v", r)
		}
		c.counts[r.Action+": "+string(r.Result)]++
	}
	hooks := c.readHooks()
	var hooked []string
	for _, h := range hooks {
		hooked = append(hooked, h.episode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expectRecorded("exec", hooked)
	c.expectRecorded("notify", c.told)
	c.expectRequests()
	c.expectQuorum(hooks)
	c.expectWell()
	c.counts["kinds of reasons"] = len(reasons)
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		proof.Record(c.t, what, c.counts[what])
	}
}

// expectRecorded compares the actions that were seen, as the episodes of their alerts, with those in the history.
func (c *chaos) expectRecorded(action string, seen []string) {
	c.t.Helper()
	times, recorded := make(map[string]int), make(map[string]int)
	for _, episode := range seen {
		times[strings.TrimSuffix(episode, "<nil>")]++
	}
	for _, r := range c.acted(action) {
		episode := r.Alert.Labels["episode"]
		recorded[episode]++
		if times[episode] == 0 && r.Result == responder.ResultDone {
			c.t.Errorf("nothing was seen of %+v", r)
		}
	}
	for episode, n := range times {
		if n != 1 || recorded[episode] != 1 {
			c.t.Errorf("%s for alert %s was seen %d times and is %d times in the history; want once",
				action, episode, n, recorded[episode])
		}
	}
}

// chaosHookRun is a run of the hook as its own log has it.
type chaosHookRun struct {
	server, episode string
	began, ended    time.Time
}

func (c *chaos) readHooks() (runs []*chaosHookRun) {
	content, _ := os.ReadFile(c.folder + "/hooks")
	for line := range strings.Lines(string(content)) {
		f := strings.Fields(line)
		seconds := must.Get(strconv.ParseFloat(f[0], 64))(c.t)
		at := time.UnixMilli(int64(seconds * 1000))
		if f[1] == "begun" {
			runs = append(runs, &chaosHookRun{server: f[2], episode: f[3], began: at, ended: at.Add(20 * time.Second)})
			continue
		}
		for _, run := range runs {
			if run.episode == f[3] {
				run.ended = at
			}
		}
	}
	return runs
}

// chaosLine is what is used of the fields of a line in Consul's log.
type chaosLine struct {
	Method, URL string
	Command     int
	ID          string `json:"server-id"`
	Servers     string
}

// removeServer is the Command that removes a server (hashicorp/raft: RemoveServer).
const removeServer = 3

// logged calls do with each line with this message that a server has logged, oldest first.
func (c *chaos) logged(message string, do func(at time.Time, line chaosLine)) {
	var all []consultest.LogLine
	for _, a := range c.cluster.Servers {
		for _, line := range a.LogsSince(0) {
			if line.Message == message {
				all = append(all, line)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b consultest.LogLine) int { return a.Time.Compare(b.Time) })
	for _, line := range all {
		var fields chaosLine
		must.Do(c.t, json.Unmarshal([]byte(line.Raw), &fields))
		do(line.Time, fields)
	}
}

// expectRequests compares what Consul was asked to do, and what it changed, with the history, one by one.
func (c *chaos) expectRequests() {
	c.t.Helper()
	removals, transfers := c.acted("remove-dead-peer"), c.acted("transfer-leadership")
	once := make(map[string]bool)
	for _, r := range slices.Concat(removals, transfers) {
		if key := r.Rule + r.Alert.Labels["episode"]; once[key] {
			c.t.Errorf("an alert led to a second action: %+v", r)
		} else {
			once[key] = true
		}
	}
	seen := make(map[uint64]bool)
	find := func(records []responder.Record, at time.Time, id string, first bool) bool {
		for _, r := range records {
			after := at.Sub(r.Time)
			if after > -time.Second && after < 90*time.Second && strings.Contains(r.What, id) && (!first || !seen[r.ID]) {
				seen[r.ID] = seen[r.ID] || first
				return true
			}
		}
		return false
	}
	c.logged("Request finished", func(at time.Time, line chaosLine) {
		_, id, _ := strings.Cut(line.URL, "?id=")
		switch path, _, _ := strings.Cut(line.URL, "?"); {
		case path == "/v1/operator/raft/transfer-leader" && !find(transfers, at, id, true),
			path == "/v1/operator/raft/peer" && !find(removals, at, id, true):
			c.t.Errorf("at %s Consul was asked: %s %s; the history has no record of it", at, line.Method, line.URL)
		}
	})
	c.logged("updating configuration", func(at time.Time, line chaosLine) {
		if line.Command == removeServer && !find(removals, at, line.ID, false) {
			c.t.Errorf("at %s the peer %s was removed; the history has no record of it", at, line.ID)
		}
	})
	for _, r := range slices.Concat(removals, transfers) {
		if r.Result == responder.ResultDone && !seen[r.ID] {
			c.t.Errorf("Consul was asked for nothing like %+v", r)
		}
	}
}

var (
	voterIn  = regexp.MustCompile(`Suffrage:Voter ID:(\S+)`)
	fromName = regexp.MustCompile(`^Transfer the leadership from (\S+) to`)
)

// votersAt returns the names of the voters in the Raft configuration of that moment.
func (c *chaos) votersAt(at time.Time) (voters []string) {
	names := make(map[string]string)
	for _, a := range c.cluster.Servers {
		names[a.NodeID()] = a.Name
		voters = append(voters, a.Name)
	}
	c.logged("updating configuration", func(changed time.Time, line chaosLine) {
		if changed.Before(at) {
			voters = nil
			for _, m := range voterIn.FindAllStringSubmatch(line.Servers, -1) {
				voters = append(voters, names[m[1]])
			}
		}
	})
	return voters
}

// faultAt returns what a server suffers from at that moment, and has for so long; nil if nothing.
func (c *chaos) faultAt(server string, at time.Time, since time.Duration, hooks []*chaosHookRun) *chaosFault {
	for _, s := range c.spans {
		to := s.to
		for _, h := range hooks { // Which wakes a server that is stopped.
			if s.fault.name == "stopped" && h.server == server && h.ended.After(s.from) && h.ended.Before(to) {
				to = h.ended
			}
		}
		if s.server == server && !s.from.After(at.Add(-since)) && to.After(at) {
			return s.fault
		}
	}
	return nil
}

// expectQuorum fails for each action without whose server there was no quorum, as far as the responder could know, and
// for each removal of a server that was not dead.
func (c *chaos) expectQuorum(hooks []*chaosHookRun) {
	c.t.Helper()
	for _, r := range slices.Concat(c.acted("exec"), c.acted("remove-dead-peer"), c.acted("transfer-leadership")) {
		server := r.Alert.Labels["server"]
		if m := fromName.FindStringSubmatch(r.What); m != nil {
			server = m[1]
		}
		voters := c.votersAt(r.Time)
		if r.Action == "remove-dead-peer" {
			voters = slices.DeleteFunc(voters, func(name string) bool { return name == server })
			if f := c.faultAt(server, r.Time, deadFor, hooks); f == nil || !f.dead {
				c.t.Errorf("%s was removed, which suffered from %+v: %+v", server, f, r)
			}
		}
		answering := func(since time.Duration) (n int) {
			for _, name := range voters {
				f := c.faultAt(name, r.Time, since, hooks)
				busy := slices.ContainsFunc(hooks, func(h *chaosHookRun) bool {
					return h.server == name && h.began.Before(r.Time) && h.ended.After(r.Time)
				})
				if name != server && !busy && (f == nil || f.answers) {
					n++
				}
			}
			return n
		}
		switch needed := len(voters)/2 + 1; {
		case answering(lookTakes) < needed:
			c.t.Errorf("without %s %d of %v answered, and the quorum is %d: %+v",
				server, answering(lookTakes), voters, needed, r)
		case answering(0) < needed:
			c.counts["actions that a fault of the same moment made wrong"]++
		}
	}
}

// expectWell fails unless the cluster commits a write, and each server has it.
func (c *chaos) expectWell() {
	c.t.Helper()
	pair := &api.KVPair{Key: "after", Value: []byte("chaos")}
	must.Get(harness.LeaderOf(c.t, c.cluster).Client().KV().Put(pair, nil))(c.t)
	for _, a := range c.cluster.Servers {
		harness.WaitTrue(c.t, a.Name+" to have what was written", func() bool {
			got, _, err := a.Client().KV().Get("after", &api.QueryOptions{AllowStale: true})
			return err == nil && got != nil && string(got.Value) == "chaos"
		})
		if got := harness.Voters(c.t, a); len(got) != 5 {
			c.t.Errorf("after all %s has the voters %v; want all five", a, got)
		}
	}
}
