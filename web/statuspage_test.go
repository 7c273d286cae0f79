// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// newTestPage is a page that shows the status that take returns.
func newTestPage(tb testing.TB, take func(context.Context) status.View, opts Options) http.Handler {
	tb.Helper()
	opts.TelemetryPath, opts.Logger = "/metrics", cmp.Or(opts.Logger, log.NewNopLogger())
	p := must.Get(newStatusPage(take, opts, newLimits(0, opts.Logger)))(tb)
	tb.Cleanup(p.cache.close)
	return p
}

// pageOf is a page that shows this status.
func pageOf(tb testing.TB, st status.View) http.Handler {
	tb.Helper()
	return newTestPage(tb, func(context.Context) status.View { return st }, Options{
		Flags: []Flag{{"consul.server", "http://127.0.0.1:8500"}},
	})
}

// healthyStatus is that of a cluster of so many servers, of which the second one leads.
func healthyStatus(servers int) status.View {
	needed := servers/2 + 1
	st := status.View{
		Time: time.Date(2026, 11, 25, 14, 3, 0, 0, time.UTC), Seconds: 0.035, Level: status.LevelHealthy,
		Verdict: fmt.Sprintf("%d of %d voters answer, quorum is %d, server-2 leads; one more may fail.",
			servers, servers, needed),
		Agent: status.AgentStatus{
			Address: "http://127.0.0.1:8500", Up: new(true), Name: "server-1", Datacenter: "dc1",
		},
		Quorum: &status.QuorumStatus{
			Quorum: verdict.Quorum{Voters: servers, Needed: needed, Reachable: servers}, Margin: new(servers - needed),
		},
		Leadership:     &status.LeadershipStatus{Known: true, Leaders: []string{"server-2"}, Configurations: 1},
		ConsistentRead: &status.ConsistentReadStatus{OK: true, Seconds: new(0.0021)},
		Autopilot:      &status.AutopilotStatus{Healthy: true, FailureTolerance: 1},
		Members:        []verdict.Pool{{Pool: "lan", Count: servers, ByStatus: map[string]int{"alive": servers}}},
		Catalog: &verdict.Catalog{
			Nodes: servers, Services: 2, Instances: map[string]int{"passing": 5, "warning": 1},
		},
		Services: &status.ServicesStatus{
			Level: status.LevelHealthy, Verdict: "3 instances of 1 service: 1 warning.", Problems: []status.Problem{},
		},
	}
	for i := range servers {
		st.Servers = append(st.Servers, healthyServer(i+1))
	}
	return st
}

func healthyServer(i int) status.ServerStatus {
	s := status.ServerStatus{
		Name: fmt.Sprintf("server-%d", i), Address: fmt.Sprintf("127.0.0.%d:8300", i), Version: "1.22.5",
		Voter: true, Serf: "alive", RaftState: cluster.RaftFollower, HasLeader: new(true), Leader: "server-2",
		Term: new(uint64(2)), LastLogIndex: new(uint64(4711)), LogLag: new(uint64(0)), LastContactSeconds: new(0.024),
		AutopilotHealthy: new(true),
	}
	if i == 2 {
		s.RaftState, s.LastContactSeconds = cluster.RaftLeader, new(0.0)
	}
	port := func(number int, protocol cluster.Protocol, transport string) {
		s.Ports = append(s.Ports, status.PortStatus{
			Port: number, Protocol: protocol, Transport: transport,
			State: verdict.PortUp, Up: new(true), Verified: true, Seconds: 0.0012,
		})
	}
	port(8300, cluster.ProtocolRPC, "tcp")
	port(8301, cluster.ProtocolSerfLAN, "tcp")
	port(8301, cluster.ProtocolSerfLAN, "udp")
	port(8500, cluster.ProtocolHTTP, "tcp")
	port(8600, cluster.ProtocolDNS, "udp")
	return s
}

// hang makes a server look as one that was stopped.
func hang(s *status.ServerStatus) {
	s.RaftState, s.HasLeader, s.Leader = "", nil, ""
	s.Term, s.LastLogIndex, s.LogLag, s.LastContactSeconds = nil, nil, nil, nil
	for i := range s.Ports {
		p := &s.Ports[i]
		p.State, p.Up, p.Seconds, p.Reason, p.Error = verdict.PortDown, new(false), 3, "timeout", "no answer in 3s"
		if p.Transport == "tcp" {
			p.State, p.Hung = verdict.PortHangs, true
		}
	}
}

var update = flag.Bool("update", false, "write the golden files instead of comparing them")

// markup has what a text has instead of it: the addresses of links, a ! before what stands out, and no version.
var markup = []struct{ pattern, instead string }{
	{`<p>consul_cluster_exporter .*, go.*`, ""},
	{`(?s)<(style|script)>.*?</(style|script)>`, ""},
	{`<noscript>.*?</noscript>`, ""},
	{`>\n<t([dh]) `, "> <t$1 "}, // A row is a line.
	{`<a href="([^"]*)">`, " [$1] "},
	{` class="(?:n )?bad">`, ">!"},
	{`<[^>]*>`, " "},
	{`[ \t]+`, " "},
	{`\s*\n\s*`, "\n"},
}

// text is a page without its markup.
func text(page string) string {
	for _, m := range markup {
		page = regexp.MustCompile(m.pattern).ReplaceAllString(page, m.instead)
	}
	return strings.TrimSpace(html.UnescapeString(page)) + "\n"
}

// What people read on the page of a healthy cluster, of one with trouble in every part, and of one with a responder.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	responder := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, history) }
	for name, h := range map[string]http.Handler{
		"healthy": pageOf(t, healthyStatus(3)), "broken": pageOf(t, brokenStatus()), "recovery": pageWith(t, responder, nil),
	} {
		got, path := text(show(t, h, "/")), filepath.Join("testdata", "page_"+name+".txt")
		if *update {
			must.Do(t, os.WriteFile(path, []byte(got), 0o600))
		}
		if diff := gocmp.Diff(string(must.Get(os.ReadFile(path))(t)), got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", path, diff)
		}
	}
}

// brokenStatus has something in every part of the page.
func brokenStatus() status.View {
	st := healthyStatus(3)
	st.Level, st.Verdict = status.LevelCritical, "The quorum is lost."
	st.Problems = []status.Problem{
		{Severity: status.Critical, Alert: "ConsulQuorumLost", Text: "1 of 3 voters answers.", Runbook: "https://r.example"},
		{Severity: status.Warning, Alert: "ConsulRaftLogLag", Server: "server-3", Text: "server-3 is 251 entries behind."},
		{Severity: status.Info, Alert: "ConsulEvenVoters", Text: "There are 4 voters."},
	}
	st.Services = &status.ServicesStatus{
		Level: status.LevelDegraded, Verdict: "6 instances of 1 service: 2 critical.",
		Problems: []status.Problem{{
			Severity: status.Warning, Alert: "ConsulServiceInstancesCritical", Text: "1 service is critical on some instances.",
		}},
	}
	st.Quorum.Reachable, st.Quorum.Margin = 1, new(-1)
	st.Leadership.Leaders = nil
	st.ConsistentRead = &status.ConsistentReadStatus{}
	hang(&st.Servers[0])
	p := &st.Servers[1].Ports[0]
	p.State, p.Up, p.Reason, p.Error = verdict.PortDown, new(false), "refused", "connection refused"
	s := &st.Servers[2]
	s.HasLeader, s.Leader, s.RaftState, s.AutopilotHealthy = new(false), "", cluster.RaftCandidate, new(false)
	s.LogLag, s.LastContactSeconds, s.Serf = new(uint64(251)), new(12.3), "failed"
	s.Ports[1].State, s.Ports[1].Verified = verdict.PortAccepts, false
	s.Ports[2].State, s.Ports[2].Up = verdict.PortUnknown, nil
	s.Ports = s.Ports[:4]
	st.Catalog.Failing = []verdict.Service{{Name: "web", Passing: 1, Critical: 2}}
	st.Catalog.FailingOmitted = 7
	st.Members[0].NotAlive = []verdict.PoolMember{
		{Name: "server-3", Status: "failed", IsServer: true}, {Name: "client-1", Status: "left"},
	}
	st.Members[0].NotAliveOmitted = 3
	st.Missing = []status.Missing{{What: "autopilot", Reason: "read it: timeout"}}
	return st
}

// The page allows itself exactly the one style and the one script that it has, and loads nothing but itself.
func TestStatusPage_Policy(t *testing.T) {
	t.Parallel()
	w := get(t, pageOf(t, healthyStatus(3)), "/")
	h := w.Header()
	if h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", h)
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(w.Body.String())[1]
	scripts := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(w.Body.String(), -1)
	if len(scripts) != 1 || scripts[0][1] != statusJS {
		t.Fatalf("the page has the scripts %q; want its own", scripts)
	}
	if got, want := h.Get("Content-Security-Policy"), contentSecurityPolicy(style, scripts[0][1]); got != want {
		t.Errorf("policy %q; want %q for the style and the script that are in the page", got, want)
	}
	for _, unwanted := range []string{
		"<script ", "javascript:", "http-equiv", "src=", "@import", "url(", " style=", " onload=",
	} {
		if strings.Contains(w.Body.String(), unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
}

// A panic costs the page, and neither the program nor the next page.
func TestStatusPage_Panic(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	p := newTestPage(t, func(context.Context) status.View { panic("out of servers") },
		Options{Logger: log.NewLogfmtLogger(&logged)})
	for range 2 {
		if w := get(t, p, "/"); w.Code != http.StatusInternalServerError || w.Body.String() != pageFailed+"\n" {
			t.Errorf("status %d: %s; want 500 and that the log says why", w.Code, w.Body)
		}
	}
	if !strings.Contains(logged.String(), "panic: out of servers") {
		t.Errorf("the log does not say why: %s", logged.String())
	}
}

func TestStatusPage_Formats(t *testing.T) {
	t.Parallel()
	h := pageOf(t, healthyStatus(3))
	const noXML = "there is no format \"xml\"; there are html and json\n"
	if w := get(t, h, "/?format=xml"); w.Code != http.StatusBadRequest || w.Body.String() != noXML {
		t.Errorf("format=xml: status %d: %s", w.Code, w.Body)
	}
	answer := request(t, newTestHandler(t, deadAgent, Options{}), http.MethodPost, "/")
	if answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d; want 405", answer.Code)
	}
}

// The JSON is a status.View, and the exporter.
func TestStatusPage_JSON(t *testing.T) {
	t.Parallel()
	st := healthyStatus(3)
	st.Problems = []status.Problem{{Severity: status.Warning, Alert: "ConsulQuorumAtRisk", Text: "No more may fail."}}
	w := get(t, pageOf(t, st), "/?format=json")
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var got statusDocument
	must.Do(t, json.Unmarshal(w.Body.Bytes(), &got))
	if diff := gocmp.Diff(st, got.View); diff != "" {
		t.Errorf("view differs (-want +got):\n%s", diff)
	}
	if len(got.Exporter.Flags) != 1 || !strings.HasPrefix(got.Exporter.GoVersion, "go1.") {
		t.Errorf("exporter is %+v", got.Exporter)
	}
}

// evilName would run a script, end the element it is in, or turn the text around if it were taken for more than a name.
const evilName = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egnp\u0000\x1b[31m{{.}}"

// poison puts the name everywhere where Consul's names are shown.
func poison(st *status.View) {
	st.Verdict = evilName + " leads."
	st.Agent.Name, st.Agent.Datacenter = evilName, evilName
	st.Leadership.Leaders = []string{evilName}
	st.Problems = []status.Problem{{Severity: status.Info, Alert: evilName, Server: evilName, Text: evilName}}
	for i := range st.Servers {
		s := &st.Servers[i]
		s.Name, s.Leader, s.Address, s.Version, s.ID = evilName, evilName, evilName, evilName, evilName
		s.RaftState = cluster.RaftState(evilName)
		s.Ports[0].Up, s.Ports[0].Error, s.Ports[0].Reason = new(false), evilName, evilName
	}
	st.Catalog.Failing = []verdict.Service{{Name: evilName, Critical: 1}}
	st.Members[0].NotAlive = []verdict.PoolMember{{Name: evilName, Status: "failed"}}
	st.Missing = []status.Missing{{What: "catalog", Reason: evilName}}
}

func TestStatusPage_EvilNames(t *testing.T) {
	t.Parallel()
	st := healthyStatus(3)
	poison(&st)
	page := get(t, pageOf(t, st), "/").Body.String()
	page = strings.Replace(page, "<script>"+statusJS+"</script>", "", 1)
	for _, unwanted := range []string{"<script", "<img", "onerror=alert(2)>\u202e\"", "\x00"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
	if n := strings.Count(page, html.EscapeString("<script>")); n < 15 {
		t.Errorf("the name is on the page %d times; want all of its places", n)
	}
	elements := regexp.MustCompile(`<(\w+)`).FindAllString(page, -1)
	slices.Sort(elements)
	want := get(t, pageOf(t, healthyStatus(3)), "/").Body.String()
	for _, e := range slices.Compact(elements) {
		if !strings.Contains(want+"<ul<details<summary<table<strong<span<h3", e) {
			t.Errorf("the page has an element %s", e)
		}
	}
}

func BenchmarkStatusPage(b *testing.B) {
	for _, servers := range []int{3, 100} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			h := pageOf(b, healthyStatus(servers))
			b.ReportAllocs()
			for b.Loop() {
				if w := get(b, h, "/"); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
