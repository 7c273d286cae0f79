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

// startAbsent starts servers with Consul's defaults, autopilot's cleanup included, and an exporter on the host of one
// of them with a state file, and waits until it knows them.
func startAbsent(t *testing.T, servers int) *absent {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: servers})
	harness.Settle(t, c)
	followers := harness.Others(c, harness.LeaderOf(t, c))
	a := &absent{T: t, c: c, agent: followers[0], gone: followers[1], state: filepath.Join(t.TempDir(), "state.json")}
	a.start()
	a.expectWhole()
	return a
}

// voters is how many there were when nothing was missing.
func (a *absent) voters() int { return len(a.c.Servers) }

func (a *absent) start() {
	a.e = harness.StartExporter(a.T, nil, serverFlag(a.agent), "--state.file="+a.state, "--probe.timeout=1s")
}

// awaitRemoval waits until autopilot has removed the server, and Serf has forgotten that it failed. Meanwhile the
// exporter is scraped.
func (a *absent) awaitRemoval() {
	harness.WaitFor(a.T, 2*time.Minute, "autopilot to remove the server", func() string {
		a.e.Scrape(a.T)
		witness := harness.Others(a.c, a.gone)[0].Client().Operator()
		config, err := witness.RaftGetConfiguration(&api.QueryOptions{AllowStale: true})
		if err != nil {
			return err.Error()
		}
		return harness.Unless(len(config.Servers) == a.voters()-1, "there are %d peers", len(config.Servers))
	})
}

// expect waits until metrics, page, its JSON and the command check, with each of its ways to remember, all name the
// server as missing. alert is the one about it.
func (a *absent) expect(alert string) {
	a.Helper()
	left, all := a.voters()-1, a.voters()
	want := harness.Samples{
		"consul_cluster_voters": float64(left), "consul_cluster_expected_voters": float64(all),
		"consul_cluster_missing_voters": 1, "consul_cluster_failure_margin": float64(left - (left/2 + 1)),
		harness.PortSeries("up", a.gone): 0,
	}
	missing := fmt.Sprintf("1 of %d expected voters is missing", all)
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
		if html := a.e.Page(a.T, "/", http.StatusOK); !strings.Contains(html, missing) {
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
	wanted := []string{alert + " " + a.gone.Name, "ConsulVotersMissing"}
	if a.voters() == 3 { // Of five another one can be done without.
		wanted = append(wanted, "ConsulQuorumAtRisk")
	}
	for _, want := range wanted {
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
func (a *absent) expectWhole() {
	a.Helper()
	voters := float64(a.voters())
	a.e.Await(a.T, harness.Samples{
		"consul_cluster_voters": voters, "consul_cluster_expected_voters": voters, "consul_cluster_missing_voters": 0,
		"consul_exporter_state_file_ok": 1,
	}, "consul_server_missing_since_timestamp_seconds")
	harness.WaitFor(a.T, time.Minute, "no view to have a problem", func() string {
		return strings.Join(harness.AlertsOf(a.e.FreshStatus(a.T)), ", ")
	})
}

// TestMissing has a follower that hangs and is killed for longer than Consul knows of it: autopilot removes it. In
// clusters of three and of five, all views go on to name it until it is back, or is to be forgotten.
func TestMissing(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{3, 5} {
		t.Run(fmt.Sprintf("of %d", servers), func(t *testing.T) {
			t.Parallel()
			a := startAbsent(t, servers)
			must.Do(t, a.gone.Stop())
			a.awaitRemoval()
			a.expect("ConsulServerHung")
			must.Do(t, a.gone.Continue())
			a.expectWhole()

			must.Do(t, a.gone.Kill())
			a.awaitRemoval()
			a.expect("ConsulServerDown")
			must.Do(t, a.e.Stop())
			a.start()
			a.expect("ConsulServerDown")
			if servers == 3 {
				a.expectRemembered()
				a.forget()
				return
			}
			must.Do(t, a.gone.Restart(harness.Soon(t)))
			a.expectWhole()
		})
	}
}

// TestMissing_AskedAgent kills the server whose agent is asked: nobody else is there to say who the members are, and
// the others' ports 8300 tell that autopilot has removed it.
func TestMissing_AskedAgent(t *testing.T) {
	t.Parallel()
	a := startAbsent(t, 3)
	a.gone = a.agent
	must.Do(t, a.gone.Kill())
	a.awaitRemoval()
	a.expect("ConsulServerDown")
	must.Do(t, a.e.Stop())
	a.start()
	a.expect("ConsulServerDown")
	must.Do(t, a.gone.Restart(harness.Soon(t)))
	a.expectWhole()
}

// expectRemembered looks at what remembers the missing server and what does not.
func (a *absent) expectRemembered() {
	a.Helper()
	code, stdout, stderr := harness.RunProgram(a.T, "--state.file="+a.state, "--web.listen-address=127.0.0.1:0")
	if code != 1 || !strings.Contains(stdout+stderr, "--state.file") {
		a.Errorf("a second exporter ends with %d and %q; want that it names the flag", code, stdout+stderr)
	}

	// Without memory the command says so, and knows nothing of it.
	if code, v := a.check(); code != cli.ExitDegraded || v.Memory == "" || len(v.Servers) != 2 {
		a.Errorf("check without memory: exit code %d, memory %q, %d servers; want a note, and two",
			code, v.Memory, len(v.Servers))
	}
	expectAnswer(a.T, a.agent, a.gone.Name, cli.ExitUnknown, `there is no server named "`+a.gone.Name+`"`)
	expectAnswer(a.T, a.agent, a.gone.Name, cli.ExitSafe, a.gone.Name+" is gone already, so nothing is lost with it.",
		"--state.file="+a.state)
	expectAnswer(a.T, a.agent, a.agent.Name, cli.ExitUnsafe, "1 of 2 voters can be counted on", "--state.file="+a.state)

	// The agent on the exporter's host dies, and the exporter restarts: it still knows all three.
	must.Do(a.T, a.e.Stop())
	must.Do(a.T, a.agent.Kill())
	a.start()
	a.e.Await(a.T, harness.Samples{
		"consul_up": 0, "consul_cluster_voters": 2, "consul_cluster_expected_voters": 3, "consul_cluster_missing_voters": 1,
		harness.PortSeries("up", a.gone): 0, harness.PortSeries("up", a.agent): 0,
	})
	must.Do(a.T, a.agent.Restart(harness.Soon(a.T)))
	a.expect("ConsulServerDown")
}

// forget dismisses the missing server.
func (a *absent) forget() {
	a.Helper()
	id := a.e.Scrape(a.T).Labels("consul_server_missing_since_timestamp_seconds", "id")[0]
	code, stdout, stderr := harness.RunProgram(a.T, "forget", id, "--state.file="+a.state)
	if code != 0 || !strings.Contains(stdout, a.gone.Name) {
		a.Errorf("forget ends with %d, %q and %q; want 0 and the name", code, stdout, stderr)
	}
	a.e.Await(a.T, harness.Samples{"consul_cluster_voters": 2, "consul_cluster_missing_voters": 0},
		"consul_server_missing_since_timestamp_seconds")
}
