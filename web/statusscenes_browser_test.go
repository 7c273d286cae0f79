// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build browser

package web

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/zervigo/consul_cluster_exporter/internal/browsertest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// scenes are the states in which people look at the page.
func scenes() map[string]status.View {
	elected := time.Date(2026, 11, 25, 14, 1, 12, 0, time.UTC)
	problem := func(severity status.Severity, alert, server, text string) status.Problem {
		return status.Problem{
			Severity: severity, Alert: alert, Server: server, Text: text, Runbook: "https://r.example/" + alert,
		}
	}
	atRisk := problem(status.Critical, "ConsulQuorumAtRisk", "",
		"No further failure can be tolerated: the quorum is lost if one more voter fails.")
	const hangs = " accepts connections but responds on no port: the process is stopped, deadlocked, or waits for its " +
		"disk."

	healthy := healthyStatus(3)
	healthy.Leadership.Since = &elected
	healthy.LastChange = &status.Event{Time: elected, Text: "server-2 was elected leader"}

	hung := healthyStatus(3)
	hung.Level = status.LevelDegraded
	hung.Verdict = "2 of 3 voters answer, quorum is 2, server-2 leads since 14:01 UTC; server-1 hangs; " +
		"no further failure can be tolerated."
	hung.Problems = []status.Problem{atRisk, problem(status.Warning, "ConsulServerHung", "server-1", "server-1"+hangs)}
	hung.Quorum.Reachable, hung.Quorum.Margin = 2, new(0)
	hung.Leadership.Since, hung.LastChange = &elected, &status.Event{Time: elected, Text: "server-2 was elected leader"}
	hang(&hung.Servers[0])

	lost := healthyStatus(3)
	lost.Level = status.LevelCritical
	lost.Verdict = "The quorum is lost; 1 of 3 voters answers, quorum is 2; server-1 and server-2 hang; " +
		"nothing can be written until 1 of server-1 and server-2 answers again."
	lost.Problems = []status.Problem{
		problem(status.Critical, "ConsulQuorumLost", "",
			"1 of 3 voters answers on port 8300, and 2 must agree: nothing can be written, and no service can register."),
		problem(status.Warning, "ConsulServerHung", "server-1", "server-1"+hangs),
		problem(status.Warning, "ConsulServerHung", "server-2", "server-2"+hangs),
	}
	lost.Quorum.Reachable, lost.Quorum.Margin = 1, new(-1)
	lost.Leadership.Leaders, lost.ConsistentRead, lost.Autopilot = nil, &status.ConsistentReadStatus{}, nil
	lost.LastChange = &status.Event{Time: elected, Text: "server-2 was elected leader"}
	hang(&lost.Servers[0])
	hang(&lost.Servers[1])

	unknown := healthyStatus(3)
	unknown.Level = status.LevelUnknown
	unknown.Verdict = "Whether there is a quorum is unknown: too few voters answer, and none of them says that there is " +
		"no leader; 1 of 3 voters answers, 2 are unknown, quorum is 2; how many more failures can be tolerated is unknown."
	unknown.Problems = []status.Problem{problem(status.Critical, "ConsulQuorumUnknown", "",
		"Whether there is a quorum is unknown: too few voters answer, and none of them says that there is no leader.")}
	unknown.Quorum.Reachable, unknown.Quorum.Unknown, unknown.Quorum.Margin = 1, 2, nil
	unknown.Leadership.Leaders, unknown.Leadership.Known = nil, false
	for i := range 2 {
		for j := range unknown.Servers[i].Ports {
			p := &unknown.Servers[i].Ports[j]
			p.State, p.Up, p.Reason = verdict.PortTurnedAway, new(false), "tls"
			p.Error = "TLS handshake: x509: certificate signed by unknown authority"
		}
	}

	unreachable := status.View{
		Time: healthy.Time, Seconds: 0.012, Level: status.LevelUnknown,
		Verdict: "The agent at http://127.0.0.1:8500 does not answer, and no server is known that could be queried instead.",
		Problems: []status.Problem{problem(status.Critical, "ConsulAgentUnreachable", "",
			"The agent at http://127.0.0.1:8500 does not answer. The catalog and the members cannot be read.")},
		Agent: status.AgentStatus{Address: "http://127.0.0.1:8500", Up: new(false)},
		Services: &status.ServicesStatus{
			Level: status.LevelUnknown, Verdict: "The catalog was not read, so the health of the services is unknown.",
		},
		Missing: []status.Missing{
			{What: "agent", Reason: "read /v1/agent/self: dial tcp 127.0.0.1:8500: connect: connection refused"},
			{What: "servers", Reason: "read /v1/agent/self: dial tcp 127.0.0.1:8500: connect: connection refused"},
		},
	}

	services := healthyStatus(3)
	services.Services = &status.ServicesStatus{
		Level:   status.LevelCritical,
		Verdict: "107 instances of 31 services: 5 critical; 1 service has no healthy instance: payments.",
		Problems: []status.Problem{problem(status.Warning, "ConsulServiceDown", "",
			"1 service has no healthy instance: payments.")},
	}
	services.Catalog = &verdict.Catalog{
		Nodes: 40, Services: 32, Instances: map[string]int{"passing": 102, "critical": 5}, Down: 1,
		Failing: []verdict.Service{{Name: "payments", Critical: 3}, {Name: "web", Passing: 9, Critical: 2}},
	}
	return map[string]status.View{
		"healthy": healthy, "hung leader": hung, "quorum lost": lost, "unknown": unknown,
		"agent unreachable": unreachable, "service trouble": services,
	}
}

// Whatever the state: the page is accessible, the first row has the answers in the window, no port that fails is beyond
// the edge, and errors are not to be seen until somebody opens them. One browser looks at all of them.
func TestStatusPage_Scenes(t *testing.T) {
	browser := browsertest.Start(t)
	states := scenes()
	for _, name := range slices.Sorted(maps.Keys(states)) {
		url := serveStatus(t, states[name])
		for view, window := range map[string]browsertest.View{
			"desk": browsertest.Desk, "night": browsertest.Night,
			"phone": browsertest.Phone, "phone-night": browsertest.PhoneNight,
		} {
			t.Run(name+", "+view, func(t *testing.T) {
				page := browser.Open(t, url, window)
				page.Picture("page-" + strings.ReplaceAll(name, " ", "-") + "-" + view)
				page.ExpectAccessible()
				if got := page.Complaints(); len(got) > 0 {
					t.Errorf("the browser complains: %v", got)
				}
				for what, count := range map[string]string{
					"answers below the window": `[...document.querySelectorAll('.answers div')].filter(
						e => e.getBoundingClientRect().bottom > innerHeight).length`,
					"ports beyond the edge": `[...document.querySelectorAll('.matrix td')].filter(
						e => e.getBoundingClientRect().right > innerWidth).length`,
					"errors in sight": `(document.body.innerText.match(
						/x509|dial tcp|connection refused|i\/o timeout/g) ?? []).length`,
				} {
					if n := browsertest.Eval[int](page, count); n > 0 {
						t.Errorf("%d %s", n, what)
					}
				}
			})
		}
	}
}

// When the page refreshes itself, what is open stays open, and what has the focus and where the reader is stay, too;
// and if the exporter does not answer, it says so.
func TestStatusPage_Refreshes(t *testing.T) {
	var now atomic.Pointer[http.Handler]
	serve := func(h http.Handler) { now.Store(&h) }
	states := scenes()
	serve(pageOf(t, states["quorum lost"]))
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	page := browsertest.Start(t).Open(t, server.URL+"/", browsertest.Phone)
	waitFor := func(text string) {
		t.Helper()
		for deadline := time.Now().Add(50 * time.Second); !strings.Contains(page.Text(), text); {
			if time.Now().After(deadline) {
				t.Fatalf("the page does not say %q; it says\n%s", text, page.Text())
			}
			time.Sleep(time.Second) //nolint:forbidigo // The page's own interval is what is waited for.
		}
	}

	const focus = `document.querySelector('#port-errors summary').focus(); document.activeElement.tagName`
	if got := browsertest.Eval[string](page, focus); got != "SUMMARY" {
		t.Fatalf("focus is on %s", got)
	}
	page.Press(kb.Enter)
	const place = `[document.getElementById('port-errors').open, document.activeElement === document.querySelector(
		'#port-errors summary'), scrollY > 0].join()`
	if got := browsertest.Eval[string](page, place); got != "true,true,true" {
		t.Fatalf("open, focused, scrolled: %s", got)
	}
	next := states["hung leader"]
	serve(pageOf(t, next))
	waitFor(next.Verdict)
	if got := browsertest.Eval[string](page, place); got != "true,true,true" {
		t.Errorf("open, focused, scrolled: %s, after the page has refreshed itself", got)
	}
	if want := "degraded: Consul dc1"; page.Title() != want {
		t.Errorf("title %q; want %q", page.Title(), want)
	}
	serve(http.NotFoundHandler())
	waitFor("The exporter does not answer. This is what it said at 2026-11-25 14:03:00 UTC")
}
