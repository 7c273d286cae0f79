// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// With the disks of both followers stuck, reads succeed and nothing that is written commits: the exporter says so, at
// once after a restart too, and check does so with the exporter's memory. On its own, check cannot tell.
func TestE2EStalledWrites(t *testing.T) {
	harness.RequireNamespace(t)
	c := consultest.Start(t, consultest.Options{Servers: 3})
	harness.Settle(t, c)
	leader := harness.LeaderOf(t, c)
	file := filepath.Join(t.TempDir(), "state.json")
	e := harness.Launch(t, os.Args[0], nil, "--consul.server="+leader.URL(), "--state.file="+file)
	committing := harness.Samples{
		`consul_cluster_writes_state{state="committing"}`: 1, `consul_cluster_quorum_state{state="held"}`: 1,
	}
	stalled := harness.Samples{
		`consul_cluster_writes_state{state="stalled"}`: 1, `consul_cluster_quorum_state{state="held"}`: 1,
		"consul_cluster_consistent_read_success": 1,
	}
	e.Await(t, committing)
	expectWrites := func(code int, state verdict.WritesState, args ...string) {
		t.Helper()
		harness.WaitFor(t, time.Minute, "check to find writes "+string(state), func() string {
			got, out, errs := harness.CheckOf(t, leader, append(args, "--output=json")...)
			var v status.View
			if err := json.Unmarshal([]byte(out), &v); err != nil || v.Writes == nil {
				return out + errs
			}
			return harness.Unless(v.Writes.State == state && got == code, "exit code %d, writes are %s: %s", got,
				v.Writes.State, v.Verdict)
		})
	}
	remembered := []string{"--exporter=" + e.URL}
	expectWrites(cli.ExitHealthy, verdict.WritesCommitting, remembered...)

	var resume []func()
	for _, a := range harness.Others(c, leader) {
		resume = append(resume, harness.StallDisk(t, a))
	}
	go func() { // It times out, if nothing else does.
		_, _ = leader.Client().KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, nil)
	}()
	e.Await(t, stalled)
	expectWrites(cli.ExitCritical, verdict.WritesStalled, remembered...)
	expectWrites(cli.ExitHealthy, verdict.WritesUnknown)
	for _, a := range c.Servers {
		code, out, errs := harness.CheckOf(t, leader, append(remembered, "--safe-to-stop="+a.Name)...)
		if code == cli.ExitSafe {
			t.Errorf("safe to stop %s: %q, %q; want no yes while nothing commits", a, out, errs)
		}
	}
	if page := e.FreshStatus(t); !strings.Contains(page.Verdict, "Writes do not commit") {
		t.Errorf("the page says %q; want that writes do not commit", page.Verdict)
	}
	e = e.Relaunch(t)
	e.Scrape(t).Expect(t, stalled)

	for _, end := range resume {
		end()
	}
	e.Await(t, committing)
}
