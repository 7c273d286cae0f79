// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// absent is a server that Consul no longer names, and the exporter that remembers it.
type absent struct {
	*testing.T

	c     *consultest.Cluster
	agent *consultest.Agent // The one that is queried over HTTP.
	gone  *consultest.Agent
	state string
	e     *harness.Exporter
}

// startAbsent starts three servers with Consul's defaults, autopilot's cleanup included, and an exporter beside one of
// them with a state file, and waits until it knows them.
func startAbsent(t *testing.T) *absent {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	harness.Settle(t, c)
	followers := harness.Others(c, harness.LeaderOf(t, c))
	a := &absent{T: t, c: c, agent: followers[0], gone: followers[1], state: filepath.Join(t.TempDir(), "state.json")}
	a.start()
	a.e.Await(t, harness.Samples{
		"consul_cluster_voters": 3, "consul_cluster_expected_voters": 3, "consul_cluster_missing_voters": 0,
		"consul_exporter_state_file_ok": 1,
	})
	return a
}

func (a *absent) start() {
	a.e = harness.StartExporter(a.T, nil, serverFlag(a.agent), "--state.file="+a.state, "--probe.timeout=1s")
}

// awaitRemoval waits until autopilot has removed the server, and Serf has forgotten that it failed. Meanwhile the
// exporter is scraped.
func (a *absent) awaitRemoval() {
	harness.WaitFor(a.T, 2*time.Minute, "autopilot to remove the server", func() string {
		a.e.Scrape(a.T)
		config, err := a.agent.Client().Operator().RaftGetConfiguration(&api.QueryOptions{AllowStale: true})
		if err != nil {
			return err.Error()
		}
		return harness.Unless(len(config.Servers) == 2, "there are %d peers", len(config.Servers))
	})
}

// expect waits until metrics, page, its JSON and the command check, with each of its ways to remember, all name the
// server as missing. alert is the one about it.
func (a *absent) expect(alert string, port float64) {
	a.Helper()
	want := harness.Samples{
		"consul_cluster_voters": 2, "consul_cluster_expected_voters": 3, "consul_cluster_missing_voters": 1,
		"consul_cluster_failure_margin": 0, harness.PortSeries("up", a.gone): port,
	}
	harness.WaitFor(a.T, time.Minute, "all views to name the missing server", func() string {
		s := a.e.Scrape(a.T)
		differences := s.Differences(want)
		if n := len(s.Labels("consul_server_missing_since_timestamp_seconds", "server")); n != 1 {
			differences = append(differences, fmt.Sprintf("%d servers are missing", n))
		}
		if !slices.Contains(s.Labels("consul_server_info", "server"), a.gone.Name) {
			differences = append(differences, "consul_server_info does not have it")
		}
		page := a.e.FreshStatus(a.T)
		differences = append(differences, a.differences("JSON of the page", &page, alert)...)
		if html := a.e.Page(a.T, "/", http.StatusOK); !strings.Contains(html, "1 of 3 expected voters is missing") {
			differences = append(differences, "the page does not say that a voter is missing")
		}
		for _, flag := range []string{"--state.file=" + a.state, "--exporter=" + a.e.URL} {
			code, v := a.check(flag)
			differences = append(differences, a.differences("check "+flag, &v, alert)...)
			if code != cli.ExitDegraded || v.Memory != "" {
				differences = append(differences, fmt.Sprintf("check %s: exit code %d, memory %q", flag, code, v.Memory))
			}
		}
		return strings.Join(differences, "\n")
	})
}

// differences says what is wrong with a view.
func (a *absent) differences(what string, v *status.View, alert string) (wrong []string) {
	i := slices.IndexFunc(v.Servers, func(s status.ServerStatus) bool { return s.Name == a.gone.Name })
	if i < 0 || v.Servers[i].Missing == nil || v.Servers[i].Missing.How != cluster.DepartureRemoved || v.Servers[i].Voter {
		wrong = append(wrong, fmt.Sprintf("%s: the server is not shown as removed: %+v", what, v.Servers))
	}
	got := harness.AlertsOf(*v)
	for _, want := range []string{alert + " " + a.gone.Name, "ConsulVotersMissing", "ConsulQuorumAtRisk"} {
		if !slices.Contains(got, want) {
			wrong = append(wrong, fmt.Sprintf("%s: problems are %q; want %s too", what, got, want))
		}
	}
	return wrong
}

func (a *absent) check(args ...string) (code int, v status.View) {
	a.Helper()
	code, stdout, stderr := harness.CheckOf(a.T, a.agent, append(args, "--output=json")...)
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		a.Fatalf("check printed %q and %q: %v", stdout, stderr, err)
	}
	return code, v
}

// expectWhole waits until nothing is missing.
func (a *absent) expectWhole(voters float64) {
	a.Helper()
	a.e.Await(a.T, harness.Samples{"consul_cluster_voters": voters, "consul_cluster_missing_voters": 0},
		"consul_server_missing_since_timestamp_seconds")
}

// TestMissing_Hung has a follower that hangs: autopilot removes it, and it stays known until it is back.
func TestMissing_Hung(t *testing.T) {
	t.Parallel()
	a := startAbsent(t)
	must.Do(t, a.gone.Stop())
	a.awaitRemoval()
	a.expect("ConsulServerHung", 0)
	must.Do(t, a.gone.Continue())
	a.expectWhole(3)
}

// TestMissing_Killed has a follower that is killed and removed. The exporter is restarted meanwhile, also while its
// agent is gone, and forgets nothing until it is told to.
func TestMissing_Killed(t *testing.T) {
	t.Parallel()
	a := startAbsent(t)
	must.Do(t, a.gone.Kill())
	a.awaitRemoval()
	a.expect("ConsulServerDown", 0)
	since := a.e.Scrape(t).Labels("consul_server_missing_since_timestamp_seconds", "id")

	code, stdout, stderr := harness.RunProgram(t, "--state.file="+a.state, "--web.listen-address=127.0.0.1:0")
	if code != 1 || !strings.Contains(stdout+stderr, "--state.file") {
		t.Errorf("a second exporter ends with %d and %q; want that it names the flag", code, stdout+stderr)
	}
	must.Do(t, a.e.Stop())
	a.start()
	a.expect("ConsulServerDown", 0)

	// Without memory the command says so, and knows nothing of it.
	if code, v := a.check(); code != cli.ExitDegraded || v.Memory == "" || len(v.Servers) != 2 {
		t.Errorf("check without memory: exit code %d, memory %q, %d servers; want a note, and two",
			code, v.Memory, len(v.Servers))
	}

	// The agent beside the exporter dies, and the exporter restarts: it still knows all three.
	must.Do(t, a.e.Stop())
	must.Do(t, a.agent.Kill())
	a.start()
	a.e.Await(t, harness.Samples{
		"consul_up": 0, "consul_cluster_voters": 2, "consul_cluster_expected_voters": 3, "consul_cluster_missing_voters": 1,
		harness.PortSeries("up", a.gone): 0, harness.PortSeries("up", a.agent): 0,
	})
	must.Do(t, a.agent.Restart(harness.Soon(t)))
	a.expect("ConsulServerDown", 0)

	code, stdout, stderr = harness.RunProgram(t, "forget", since[0], "--state.file="+a.state)
	if code != 0 || !strings.Contains(stdout, a.gone.Name) {
		t.Errorf("forget ends with %d, %q and %q; want 0 and the name", code, stdout, stderr)
	}
	a.e.Scrape(t)
	a.expectWhole(2)
}
