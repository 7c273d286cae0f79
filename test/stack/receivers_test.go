// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// told is a notification, whoever got it.
type told struct {
	at time.Time
	// receiver is that of the example.
	receiver string
	// incident is what the receiver knows it by: PagerDuty's dedup_key. Slack only has the title.
	incident string
	resolved bool
	title    string
	// body is all that was sent.
	body string
}

// onCall are those who get the notifications: PagerDuty's Events API v2, Slack's incoming webhooks and a webhook.
type onCall struct {
	url string

	mu   sync.Mutex
	told []told
	// problems are what the real ones would have refused, or could not be read.
	problems []string
}

const pagerDutyKey = "0123456789abcdef0123456789abcdef"

func newOnCall(t *testing.T) *onCall {
	t.Helper()
	o := new(onCall)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/enqueue", o.pagerDuty)
	mux.HandleFunc("POST /slack/{receiver}", o.slack)
	mux.HandleFunc("POST /webhook/{receiver}", o.webhook)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { o.refuse(w, "there is no "+r.URL.Path) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// config is the shipped example, with the addresses and secrets of the test in the place of those that are to be
// replaced.
func (o *onCall) config(t *testing.T) string {
	t.Helper()
	config := string(must.Get(os.ReadFile("alerts/alertmanager.example.yml"))(t))
	for old, replaced := range map[string]string{
		"/etc/alertmanager/pagerduty-key\n":         harness.Secret(t, pagerDutyKey),
		"/etc/alertmanager/slack-url\n":             harness.Secret(t, o.url+"/slack/chat"),
		"/etc/alertmanager/slack-url-of-services\n": harness.Secret(t, o.url+"/slack/services"),
		"http://tickets.example/consul\n":           o.url + "/webhook/tickets",
	} {
		if n := strings.Count(config, old); n != 1 {
			t.Fatalf("%q is in the example %d times; want once", old, n)
		}
		config = strings.Replace(config, old, replaced+"\n", 1)
	}
	return fmt.Sprintf("global: {pagerduty_url: %q}\n", o.url+"/v2/enqueue") + config
}

func (o *onCall) refuse(w http.ResponseWriter, problem string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.problems = append(o.problems, problem)
	http.Error(w, problem, http.StatusBadRequest)
}

func (o *onCall) hear(n told) {
	n.at = time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, n)
}

// read reads a notification, and returns its text.
func (o *onCall) read(w http.ResponseWriter, r *http.Request, to any) (string, bool) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, to)
	}
	if err != nil {
		o.refuse(w, err.Error())
		return "", false
	}
	var indented bytes.Buffer
	_ = json.Indent(&indented, body, "", "  ") // It was JSON.
	return indented.String(), true
}

// pagerDutyEvent is one of version 2 of PagerDuty's Events API.
type pagerDutyEvent struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Payload    struct {
		Summary, Source, Severity, Class, Component, Group string

		Details map[string]any `json:"custom_details"`
	}
	Links []struct{ Href, Text string }
}

// pagerDuty accepts what PagerDuty accepts.
func (o *onCall) pagerDuty(w http.ResponseWriter, r *http.Request) {
	var e pagerDutyEvent
	body, ok := o.read(w, r, &e)
	if !ok {
		return
	}
	// Alertmanager makes of some texts something else.
	for _, detail := range []string{"firing", "resolved"} {
		if _, ok := e.Payload.Details[detail].(string); !ok {
			o.refuse(w, detail+" is no text: "+body)
			return
		}
	}
	known := slices.Contains([]string{"critical", "error", "warning", "info"}, e.Payload.Severity)
	action := e.Action == "trigger" || e.Action == "resolve"
	if e.RoutingKey != pagerDutyKey || e.DedupKey == "" || e.Payload.Summary == "" || len(e.Payload.Summary) > 1024 ||
		e.Payload.Source == "" || !known || !action || slices.ContainsFunc(e.Links, func(l struct{ Href, Text string }) bool {
		return !strings.HasPrefix(l.Href, "https://") || l.Text == ""
	}) {
		o.refuse(w, "PagerDuty refuses "+body)
		return
	}
	o.hear(told{
		receiver: "pager", incident: e.DedupKey, resolved: e.Action == "resolve", title: e.Payload.Summary, body: body,
	})
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"status": "success", "message": "Event processed", "dedup_key": %q}`, e.DedupKey)
}

// slackMessage is what is sent to an incoming webhook.
type slackMessage struct {
	Channel     string
	Attachments []struct {
		Title, Text, Fallback, Color string

		TitleLink string `json:"title_link"`
	}
}

func (o *onCall) slack(w http.ResponseWriter, r *http.Request) {
	var m slackMessage
	body, ok := o.read(w, r, &m)
	if !ok {
		return
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Title == "" || m.Attachments[0].Text == "" {
		o.refuse(w, "Slack refuses "+body)
		return
	}
	title := m.Attachments[0].Title
	what, resolved := strings.CutPrefix(title, "Resolved: ")
	o.hear(told{receiver: r.PathValue("receiver"), incident: what, resolved: resolved, title: title, body: body})
	fmt.Fprint(w, "ok")
}

func (o *onCall) webhook(w http.ResponseWriter, r *http.Request) {
	var n struct {
		page
		GroupKey string `json:"groupKey"`
	}
	if body, ok := o.read(w, r, &n); ok {
		title := n.GroupLabels["alertname"] + " of " + n.GroupLabels["cluster"]
		o.hear(told{
			receiver: r.PathValue("receiver"), incident: n.GroupKey, resolved: n.Status == "resolved", title: title, body: body,
		})
	}
}

// titles are what a receiver was told since the notification with this number, sorted.
func (o *onCall) titles(receiver string, since int) (titles []string) {
	for _, n := range o.all()[since:] {
		if n.receiver == receiver {
			titles = append(titles, n.title)
		}
	}
	slices.Sort(titles)
	return titles
}

func (o *onCall) all() []told {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.told)
}

// raisedAlert is an alert that is to fire.
type raisedAlert struct {
	alert, severity, cluster string
	// labels are further ones, written as server=server-1 port=8300.
	labels string
	value  float64
}

// faults are an exporter as Prometheus sees it. Its metric raised has a series for each of them.
type faults struct {
	// summaries are those of the rules.
	summaries map[alertID]string

	mu     sync.Mutex
	raised []raisedAlert
}

func (f *faults) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.raised {
		fmt.Fprintf(w, "raised{alert=%q,level=%q,cluster=%q,datacenter=\"dc1\",job=\"consul\"", r.alert, r.severity,
			r.cluster)
		for label, value := range newWantAlert("", "", r.labels).labels {
			fmt.Fprintf(w, ",%s=%q", label, value)
		}
		fmt.Fprintf(w, "} %v\n", r.value)
	}
}

func (f *faults) change(change func([]raisedAlert) []raisedAlert) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.raised = change(f.raised)
}

// startFaults starts a Prometheus with the rules of the pack about these faults, with their labels and annotations.
// They fire while the fault is raised, and not after what else the pack has them look for. It fails if the tests with
// promtool have not seen an alert with these labels.
func startFaults(t *testing.T, alertmanager *harness.Exporter, all []raisedAlert) (*faults, *harness.Exporter) {
	t.Helper()
	f := &faults{summaries: make(map[alertID]string)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	pack := alerts.Join(harness.PackFiles(t, map[string]string{"dashboard-url": "https://grafana.example/d/{dashboard}"}))
	seen := labelsSeen(t)
	var rules []map[string]any
	for _, rule := range harness.AlertRules(t, alerts.File{Name: "pack.yml", Content: pack}) {
		id := alertID{rule.Alert, rule.Labels["severity"]}
		if f.summaries[id] != "" || !slices.ContainsFunc(all, func(a raisedAlert) bool { return a.id() == id }) {
			continue
		}
		f.summaries[id] = rule.Annotations["summary"]
		rules = append(rules, map[string]any{
			"alert": rule.Alert, "labels": rule.Labels, "annotations": rule.Annotations,
			"expr": fmt.Sprintf("max without (alert, level, instance) (raised{alert=%q, level=%q})", rule.Alert,
				rule.Labels["severity"]),
		})
	}
	for _, a := range all {
		if f.summaries[a.id()] == "" {
			t.Fatalf("there is no rule for %s (%s)", a.alert, a.severity)
		}
		if own := ownLabels(newWantAlert("", "", a.labels).labels); !slices.Contains(seen[a.alert], own) {
			t.Fatalf("%s has the labels %q in no test of the rules, but %q", a.alert, own, seen[a.alert])
		}
	}
	target := strings.TrimPrefix(server.URL, "http://")
	job := map[string]any{
		"honor_labels": true, "static_configs": []any{map[string]any{"targets": []string{target}}},
	}
	config := scrapeConfig(time.Second, time.Second, job)
	config["alerting"] = alertingTo(alertmanager)
	groups := map[string]any{"groups": []any{map[string]any{"name": "pack", "rules": rules}}}
	config["rule_files"] = []string{harness.WriteFile(t, "rules.yml", string(must.Get(json.Marshal(groups))(t)))}
	return f, runPrometheus(t, t.TempDir(), config)
}

func (a raisedAlert) id() alertID { return alertID{a.alert, a.severity} }

// labelsSeen are the names of labels that the tests with promtool have seen alerts with, by alert.
func labelsSeen(t *testing.T) map[string][]string {
	t.Helper()
	seen := make(map[string][]string)
	for _, path := range must.Get(filepath.Glob("alerts/testdata/*_test.yml"))(t) {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Alert string `yaml:"alertname"`
					Fires []struct {
						Labels map[string]string `yaml:"exp_labels"`
					} `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		must.Do(t, yaml.Unmarshal(must.Get(os.ReadFile(path))(t), &file))
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				for _, f := range a.Fires {
					seen[a.Alert] = append(seen[a.Alert], ownLabels(f.Labels))
				}
			}
		}
	}
	return seen
}

// ownLabels are the names of the labels that do not tell clusters apart.
func ownLabels(labels map[string]string) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(labels)), func(name string) bool {
		return slices.Contains([]string{"cluster", "datacenter", "job", "severity"}, name)
	})
	return strings.Join(names, " ")
}

// Two clusters, two servers and two services are incidents of their own, each with a text of its own. A second server
// is told of within a minute although the first one is being worked on, and what is over ends its own incident only.
//
// Alertmanager has the shipped example with all its times.
func TestStackReceivers(t *testing.T) {
	t.Parallel()
	people := newOnCall(t)
	t.Cleanup(func() { people.log(t) })
	// Two and a half days, as the alert about certificates has them, and instances of a service.
	const left, instances = 216000, 2
	certificate := func(cluster, server, port, protocol string) raisedAlert {
		labels := fmt.Sprintf("server=%s port=%s protocol=%s state=expiring", server, port, protocol)
		return raisedAlert{"ConsulCertificateExpires", "critical", cluster, labels, left}
	}
	failed := func(cluster, server string) raisedAlert {
		return raisedAlert{"ConsulSerfMemberFailed", "warning", cluster, "server=" + server + " member=" + server, 4}
	}
	service := func(cluster, name string) raisedAlert {
		return raisedAlert{"ConsulServiceInstancesCritical", "warning", cluster, "service_name=" + name, instances}
	}
	first := []raisedAlert{
		certificate("production", "server-1", "8501", "https"), certificate("production", "server-1", "8503", "grpc_tls"),
		certificate("staging", "server-1", "8501", "https"),
		{"ConsulQuorumLost", "critical", "europe", "", 1},
		{"ConsulQuorumLost", "critical", "america", "", 1},
		failed("production", "server-1"), failed("staging", "server-1"),
		service("production", "web"), service("staging", "web"),
		{"ConsulEvenVoters", "info", "production", "", 4},
	}
	second := []raisedAlert{
		certificate("production", "server-2", "8501", "https"), certificate("production", "server-2", "8503", "grpc_tls"),
		failed("production", "server-2"), service("production", "api"),
	}
	// All of some incidents is over then, and of the last one a part.
	over := []raisedAlert{first[0], first[1], first[5], first[7], second[0]}
	alertmanager := startAlertmanager(t, people.config(t))
	exporter, prometheus := startFaults(t, alertmanager, slices.Concat(first, second))

	title := func(about string, a raisedAlert) string {
		return "Cluster " + about + ": " + exporter.summaries[a.id()]
	}
	expires := func(about string) string { return title(about, certificate("", "", "", "")) }
	lost := func(about string) string { return title(about, first[3]) }
	gone := func(about string) string { return title(about, failed("", "")) }
	unwell := func(about string) string { return title(about, service("", "")) }
	raise := func(more []raisedAlert) {
		exporter.change(func(raised []raisedAlert) []raisedAlert { return slices.Concat(raised, more) })
	}
	people.expect(t, func() { raise(first) }, map[string][]string{
		"pager": {
			lost("america, datacenter dc1"),
			lost("europe, datacenter dc1"),
			expires("production, datacenter dc1, server server-1") + " (2 alerts)",
			expires("staging, datacenter dc1, server server-1"),
		},
		"chat": {
			gone("production, datacenter dc1, server server-1"),
			gone("staging, datacenter dc1, server server-1"),
		},
		"services": {
			unwell("production, datacenter dc1, service web"),
			unwell("staging, datacenter dc1, service web"),
		},
		"tickets": {"ConsulEvenVoters of production"},
	})
	people.expect(t, func() { raise(second) }, map[string][]string{
		"pager":    {expires("production, datacenter dc1, server server-2") + " (2 alerts)"},
		"chat":     {gone("production, datacenter dc1, server server-2")},
		"services": {unwell("production, datacenter dc1, service api")},
	})
	people.expectTexts(t, prometheus)
	end := func(raised []raisedAlert) []raisedAlert {
		return slices.DeleteFunc(raised, func(f raisedAlert) bool { return slices.Contains(over, f) })
	}
	people.expect(t, func() { exporter.change(end) }, map[string][]string{
		"pager": {
			expires("production, datacenter dc1, server server-2"),
			"Resolved: " + expires("production, datacenter dc1, server server-1"),
		},
		"chat":     {"Resolved: " + gone("production, datacenter dc1, server server-1")},
		"services": {"Resolved: " + unwell("production, datacenter dc1, service web")},
	})
	people.expectResolved(t)
}

// log shows all notifications, and fails for each that the real receivers would have refused.
func (o *onCall) log(t *testing.T) {
	t.Helper()
	for _, n := range o.all() {
		t.Logf("%s %s: %s\n%s", n.at.Format(time.TimeOnly), n.receiver, n.title, n.body)
	}
	for _, p := range o.problems {
		t.Error(p)
	}
}

// expect lets something happen, and expects each receiver to be told this within a minute, and nothing else.
func (o *onCall) expect(t *testing.T, happen func(), want map[string][]string) {
	t.Helper()
	since, began := len(o.all()), time.Now()
	happen()
	number := 0
	for _, titles := range want {
		number += len(titles)
	}
	harness.WaitFor(t, 2*time.Minute, "the notifications", func() string {
		return harness.Unless(len(o.all())-since >= number, "%d of %d", len(o.all())-since, number)
	})
	for _, receiver := range []string{"pager", "chat", "services", "tickets"} {
		if got := o.titles(receiver, since); !slices.Equal(got, want[receiver]) {
			t.Errorf("%s was told:\n%s\nwant:\n%s", receiver, strings.Join(got, "\n"), strings.Join(want[receiver], "\n"))
		}
	}
	for _, n := range o.all()[since:] {
		// Prometheus here needs some seconds to see it.
		if after := n.at.Sub(began); after > time.Minute+5*time.Second {
			t.Errorf("%s was told %q after %s; want a minute at most", n.receiver, n.title, after)
		}
	}
}

// expectTexts expects one message about each alert, with its own description.
func (o *onCall) expectTexts(t *testing.T, prometheus *harness.Exporter) {
	t.Helper()
	type firing struct{ Labels, Annotations map[string]string }
	for _, f := range ask[struct{ Alerts []firing }](t, prometheus, "alerts", nil).Alerts {
		text := strings.Trim(string(must.Get(json.Marshal(f.Annotations["description"]))(t)), `"`)
		var about []told
		for _, n := range o.all() {
			if strings.Contains(n.body, text) {
				about = append(about, n)
			}
		}
		if len(about) != 1 {
			t.Errorf("%d messages have the text %q; want one", len(about), text)
			continue
		}
		parts := []string{f.Annotations["runbook_url"], "https://grafana.example/d/consul-"}
		for _, label := range []string{"alertname", "severity", "cluster", "datacenter", "server", "service_name"} {
			parts = append(parts, f.Labels[label])
		}
		if about[0].receiver != "tickets" { // A webhook gets it as a time.
			parts = append(parts, "Firing since "+time.Now().UTC().Format("2006-01-02 "))
		}
		for _, part := range parts {
			if !strings.Contains(about[0].body, part) {
				t.Errorf("%s was not told %q:\n%s", about[0].receiver, part, about[0].body)
			}
		}
	}
}

// expectResolved expects each incident to have been told of once, and those that are resolved once more.
func (o *onCall) expectResolved(t *testing.T) {
	t.Helper()
	incidents := make(map[string][]told)
	for _, n := range o.all() {
		incidents[n.receiver+n.incident] = append(incidents[n.receiver+n.incident], n)
	}
	var resolved []string
	for _, told := range incidents {
		last := told[len(told)-1]
		if last.resolved {
			resolved = append(resolved, last.receiver)
		}
	}
	slices.Sort(resolved)
	if want := []string{"chat", "pager", "services"}; !slices.Equal(resolved, want) {
		t.Errorf("incidents of %v are resolved; want %v", resolved, want)
	}
}
