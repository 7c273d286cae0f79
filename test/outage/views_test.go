// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// An outlook is what all views show of a cluster: the metrics, the status page, its JSON, and the check command's
// text, JSON and exit code.
type outlook struct {
	level status.Level
	// sentence is a regular expression for the whole verdict without the time since when the leader leads.
	sentence string
	// problems are all of them, in their order: the alert and the server.
	problems []string
	// metrics are some that the page does not have, and unwanted are the beginnings of series that there must not be.
	metrics  harness.Samples
	unwanted []string
}

// wholeQuorum is what the verdict says of three servers that are well.
const wholeQuorum = `3 of 3 voters answer, quorum is 2, server-[123] leads; one more failure can be tolerated\.`

// healthy is what views show of three servers when nothing is wrong.
func healthy(*play) outlook {
	return outlook{
		level: status.LevelHealthy, sentence: wholeQuorum, metrics: harness.Samples{"consul_cluster_failure_margin": 1},
	}
}

// expect waits until all views show this. The check command has no memory: it is not compared with an exporter that
// remembers.
func (p *play) expect(e *harness.Exporter, check bool, want outlook) {
	p.Helper()
	harness.WaitFor(p.T, 2*time.Minute, "all views to show the same", func() string {
		return p.differences(e, check, want)
	})
}

// differences are those between the views, and between them and what is wanted. The views are looked at all at once.
func (p *play) differences(e *harness.Exporter, check bool, want outlook) string {
	p.Helper()
	var codes [2]int
	var text, asJSON string
	var checks sync.WaitGroup
	if check {
		checks.Go(func() { codes[0], text = p.check() })
		checks.Go(func() { codes[1], asJSON = p.check("--output=json") })
	}
	var page status.View
	checks.Go(func() { page = e.FreshStatus(p.T) })
	s := e.Scrape(p.T)
	checks.Wait()
	html := e.Page(p.T, "/", http.StatusOK)

	differences := []string{
		cmp.Diff(top(&page), topOfPage(html)),
		cmp.Diff(want.level, page.Level),
		cmp.Diff(want.problems, harness.AlertsOf(page), cmpopts.EquateEmpty()),
	}
	if want.level == status.LevelHealthy {
		differences = append(differences, cmp.Diff([]status.Missing{}, page.Missing))
	}
	if !regexp.MustCompile("^" + want.sentence + "$").MatchString(withoutSince(page.Verdict)) {
		differences = append(differences, fmt.Sprintf("the verdict is %q; want %q", page.Verdict, want.sentence))
	}
	differences = slices.Concat(differences,
		s.Differences(metricsOf(&page)), s.Differences(want.metrics), s.Unwanted(want.unwanted...))
	if check {
		code, v := cli.LevelCodes[page.Level], p.viewOf(asJSON)
		forgive(&v, &page)
		differences = append(differences, cmp.Diff([2]int{code, code}, codes), cmp.Diff(page, v, momentary),
			cmp.Diff(withoutSince(top(&page)), top(&v)), cmp.Diff(top(&v), topOfText(text)))
	}
	return strings.TrimSpace(strings.Join(differences, "\n"))
}

// check runs the check command, and returns its exit code and all that it prints.
func (p *play) check(args ...string) (code int, text string) {
	code, stdout, stderr := harness.CheckOf(p.T, p.agent, append(args, p.args...)...)
	return code, stdout + stderr
}

// viewOf reads the JSON of the check command.
func (p *play) viewOf(text string) (v status.View) {
	p.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		p.Fatalf("check printed %q, which is not JSON: %v", text, err)
	}
	harness.ExpectSchema(p.T, "View", text)
	return v
}

// momentary is what differs between two looks at the same cluster, or what only the exporter remembers.
var momentary = cmp.Options{
	cmpopts.IgnoreFields(status.View{}, "Time", "Seconds", "Verdict", "Memory", "LastChange"),
	cmpopts.IgnoreFields(verdict.Writes{}, "LastLogIndex", "CommitIndex"),
	cmpopts.IgnoreFields(status.LeadershipStatus{}, "Since"),
	cmpopts.IgnoreFields(status.ConsistentReadStatus{}, "Seconds"),
	cmpopts.IgnoreFields(status.ServerStatus{}, "Term", "LastLogIndex", "LogLag", "LastContactSeconds"),
	cmpopts.IgnoreFields(status.PortStatus{}, "Seconds", "Error"),
	cmpopts.IgnoreFields(status.Missing{}, "Reason"),
}

// forgive has the ports that the check command does not ask about be as the page says. Where a port is guessed, nothing
// that has never answered there is a finding, and only the exporter remembers what has.
func forgive(check, page *status.View) {
	for i, server := range check.Servers {
		for j, port := range server.Ports {
			guessed := port.Up == nil && port.Reason == "unknown_address"
			if guessed && i < len(page.Servers) && j < len(page.Servers[i].Ports) {
				server.Ports[j] = page.Servers[i].Ports[j]
			}
		}
	}
}

// stopAnswer is what --safe-to-stop answers in JSON.
type stopAnswer struct {
	verdict.Stop
	Error  string `json:"error"`
	Memory string `json:"memory"`
}

// expectStop asks whether a server can be stopped until the answer is this and has the reason in its reasons, its
// hint or its error.
func (p *play) expectStop(server string, want int, reason string) {
	p.Helper()
	what := fmt.Sprintf("safe to stop %s: exit code %d and %q", server, want, reason)
	harness.WaitFor(p.T, 20*time.Second, what, func() string {
		code, text := p.check("--safe-to-stop="+server, "--output=json")
		var answer stopAnswer
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			p.Fatalf("check printed %q, which is not JSON: %v", text, err)
		}
		harness.ExpectSchema(p.T, "StopAnswer", text)
		unknown := answer.Answer == verdict.AnswerUnknown
		if answer.Server != server || answer.Safe != (code == cli.ExitSafe) || unknown != (code == cli.ExitUnknown) {
			p.Errorf("exit code %d does not go with %+v", code, answer)
		}
		why := strings.Join(answer.Reasons, " ") + " " + answer.Hint + answer.Error
		if code == want && strings.Contains(why, reason) {
			return ""
		}
		return fmt.Sprintf("exit code %d, %q", code, why)
	})
}

// top is what every view for people has: the level, the verdict, and the problems.
func top(v *status.View) string {
	lines := []string{string(v.Level) + ": " + v.Verdict}
	for _, p := range slices.Concat(v.Problems, v.Services.Problems) {
		lines = append(lines, string(p.Severity)+": "+p.Alert+": "+p.Text)
	}
	return strings.Join(lines, "\n")
}

var (
	pageHead    = regexp.MustCompile(`<strong class="level">(.*?)</strong></p>\s*<h1>(.*?)</h1>`)
	pageProblem = regexp.MustCompile(`<li class="\w+"[^>]*><strong>(\w+)</strong> <span>(.*?)</span> <a[^>]+>(\w+)</a>`)
	continued   = regexp.MustCompile(`\n {4,}`) // Long lines are.
	textProblem = regexp.MustCompile(`(?m)^  (critical|warning|info) +(Consul\w+) +(.*\S) *$`)
	since       = regexp.MustCompile(` since [^;,\n]+`)
)

func topOfPage(page string) string {
	text := pageHead.FindString(page)
	lines := []string{pageHead.ReplaceAllString(text, "$1: $2")}
	for _, problem := range pageProblem.FindAllString(page, -1) {
		lines = append(lines, pageProblem.ReplaceAllString(problem, "$1: $3: $2"))
	}
	return html.UnescapeString(strings.Join(lines, "\n"))
}

func topOfText(text string) string {
	text = continued.ReplaceAllString(text, " ")
	head, _, _ := strings.Cut(text, "\n")
	lines := []string{strings.Replace(head, "  ", ": ", 1)}
	for _, problem := range textProblem.FindAllString(text, -1) {
		lines = append(lines, textProblem.ReplaceAllString(problem, "$1: $2: $3"))
	}
	return strings.Join(lines, "\n")
}

// withoutSince leaves out since when the leader leads, which only those know who saw the election.
func withoutSince(text string) string { return since.ReplaceAllString(text, "") }

// metricsOf are the metrics that say what the page says.
func metricsOf(v *status.View) harness.Samples {
	want := harness.Samples{"consul_up": zeroOrOne(*v.Agent.Up)}
	if q := v.Quorum; q != nil {
		want["consul_cluster_voters"], want["consul_cluster_quorum"] = float64(q.Voters), float64(q.Needed)
		want[harness.AnsweringVoters] = float64(q.Reachable)
		if q.Margin != nil {
			want["consul_cluster_failure_margin"] = float64(*q.Margin)
		}
	}
	if l := v.Leadership; l != nil {
		if l.Known {
			want["consul_cluster_leaders"] = float64(len(l.Leaders))
		}
		want["consul_cluster_reported_leaders"] = float64(len(l.Reported))
		want["consul_cluster_servers_without_leader"] = float64(l.WithoutLeader)
		want["consul_cluster_raft_configurations"] = float64(l.Configurations)
	}
	if r := v.ConsistentRead; r != nil {
		want["consul_cluster_consistent_read_success"] = zeroOrOne(r.OK)
	}
	if a := v.Autopilot; a != nil {
		want["consul_autopilot_cluster_healthy"] = zeroOrOne(a.Healthy)
		want["consul_autopilot_cluster_failure_tolerance"] = float64(a.FailureTolerance)
	}
	if c := v.Catalog; c != nil {
		want["consul_catalog_nodes"] = float64(c.Nodes)
		want["consul_catalog_services"] = float64(c.Services)
		for _, s := range c.Failing {
			labels := fmt.Sprintf("{service_name=%q,status=%q}", s.Name, "critical")
			want["consul_catalog_service_instances"+labels] = float64(s.Critical)
		}
	}
	for _, pool := range v.Members {
		for status, n := range pool.ByStatus {
			want[fmt.Sprintf("consul_serf_members{pool=%q,status=%q}", pool.Pool, status)] = float64(n)
		}
	}
	for _, s := range v.Servers {
		if s.HasLeader != nil {
			want[fmt.Sprintf("consul_server_raft_has_leader{server=%q}", s.Name)] = zeroOrOne(*s.HasLeader)
			want[fmt.Sprintf("consul_server_raft_is_leader{server=%q}", s.Name)] = zeroOrOne(s.RaftState == cluster.RaftLeader)
		}
		for _, p := range s.Ports {
			port, server := harness.Port(p.Port, string(p.Protocol), p.Transport), &consultest.Agent{Name: s.Name}
			if p.Up != nil {
				want[port.Series("consul_port_up", server)] = zeroOrOne(*p.Up)
				want[port.Series("consul_port_protocol_verified", server)] = zeroOrOne(p.Verified)
			}
		}
	}
	return want
}

func zeroOrOne(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
