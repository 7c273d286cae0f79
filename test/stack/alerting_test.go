// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

// Package stack_test has the tests with Prometheus and Alertmanager.
package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// alertTimeFactor is by how much the tests shorten all times of the pack and of Alertmanager's configuration.
const alertTimeFactor = 10

// alertInterval is how often Prometheus evaluates the rules here, and alertScrapeInterval how often it scrapes. A
// scrape may take as long, which a busy machine needs: a scrape that is given up ends an alert, as it does in
// production.
const (
	alertInterval       = time.Second
	alertScrapeInterval = 3 * time.Second
)

// alertStack is a Prometheus with the pack, which sends its alerts to an Alertmanager with the example's configuration,
// which sends its notifications to the test.
type alertStack struct {
	prometheus, alertmanager *harness.Exporter
	pages                    *pageLog

	// binary is the exporter.
	binary string
	// watchers are the exporters that Prometheus scrapes, and targetsFile tells it which.
	watchers    []*watcher
	targetsFile string
}

// startAlerting starts the three, with these settings of the pack. They end with the test.
func startAlerting(t *testing.T, binary string, settings map[string]string) *alertStack {
	t.Helper()
	s := &alertStack{pages: newPageLog(t), targetsFile: filepath.Join(t.TempDir(), "targets.json"), binary: binary}
	s.alertmanager = startAlertmanager(t, scaledAlertmanager(t, s.pages.url))
	s.writeTargets(t)
	discovery := map[string]any{"files": []string{s.targetsFile}, "refresh_interval": "1s"}
	config := scrapeConfig(alertScrapeInterval, alertInterval, map[string]any{"file_sd_configs": []any{discovery}})
	config["alerting"] = alertingTo(s.alertmanager)
	s.prometheus = startRules(t, config, scaledPack(t, settings))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("notifications:\n%s", s.pages)
		}
	})
	return s
}

// startRules starts a Prometheus with these rule files. It sends alerts again as often as the scaled times need it.
func startRules(t *testing.T, config map[string]any, ruleFiles ...string) *harness.Exporter {
	t.Helper()
	var paths []string
	for _, content := range ruleFiles {
		paths = append(paths, harness.WriteFile(t, "rules.yml", content))
	}
	config["rule_files"] = paths
	return runPrometheus(t, t.TempDir(), config, "--rules.alert.resend-delay="+scaled(time.Minute).String())
}

// startAlertmanager starts an Alertmanager that knows of no other.
func startAlertmanager(t *testing.T, config string) *harness.Exporter {
	t.Helper()
	return startTool(t, "alertmanager", "--config.file="+harness.WriteFile(t, "alertmanager.yml", config),
		"--storage.path="+t.TempDir(), "--cluster.listen-address=")
}

// scrapeConfig is a configuration of Prometheus with one job. A scrape may take as long as the time between two.
func scrapeConfig(scrape, evaluation time.Duration, job map[string]any) map[string]any {
	job["job_name"] = "consul"
	return map[string]any{
		"global": map[string]any{
			"scrape_interval": scrape.String(), "scrape_timeout": scrape.String(), "evaluation_interval": evaluation.String(),
		},
		"scrape_configs": []any{job},
	}
}

// static is a job with these targets.
func static(exporters ...*harness.Exporter) map[string]any {
	var targets []string
	for _, e := range exporters {
		targets = append(targets, e.HostPort())
	}
	return map[string]any{"static_configs": []any{map[string]any{"targets": targets}}}
}

// alertingTo has a Prometheus send its alerts to these Alertmanagers.
func alertingTo(alertmanagers ...*harness.Exporter) map[string]any {
	return map[string]any{"alertmanagers": []any{static(alertmanagers...)}}
}

// runPrometheus starts a Prometheus with this configuration, which keeps its data in the folder.
func runPrometheus(tb testing.TB, dir string, config map[string]any, flags ...string) *harness.Exporter {
	tb.Helper()
	file := filepath.Join(dir, "prometheus.yml")
	must.Do(tb, os.WriteFile(file, must.Get(json.Marshal(config))(tb), 0o600)) // JSON is YAML.
	flags = append(flags, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"))
	return startTool(tb, "prometheus", flags...)
}

// startTool starts a server of the toolbox, and ends it with the test.
func startTool(tb testing.TB, name string, args ...string) *harness.Exporter {
	tb.Helper()
	p := harness.Launch(tb, must.Get(toolbox.Path(name))(tb), nil, args...)
	harness.WaitFor(tb, 60*time.Second, name+" to be ready", func() string {
		status, body, err := p.Get(tb.Context(), "/-/ready", time.Second)
		return harness.Unless(err == nil && status == http.StatusOK, "status %d, %v: %s", status, err, body)
	})
	return p
}

// scaled is a time as the tests have it.
func scaled(d time.Duration) time.Duration { return d / alertTimeFactor }

// scaledPack is the pack with all times shortened: how long alerts pend, and how far their expressions look back.
func scaledPack(t *testing.T, settings map[string]string) string {
	t.Helper()
	pack := string(alerts.Join(harness.PackFiles(t, settings)))
	pack = shorten(t, pack, `(\b(?:keep_firing_)?for: )([0-9]\w*)()`)
	pack = shorten(t, pack, `(\[)([0-9]\w*)(\]|:)`)
	return shorten(t, pack, `(\[\w+:)([0-9]\w*)(\])`)
}

// scaledAlertmanager is the configuration of the example with its times shortened, and with the receivers of the test.
func scaledAlertmanager(t *testing.T, receiver string) string {
	t.Helper()
	example := string(must.Get(os.ReadFile("alerts/alertmanager.example.yml"))(t))
	config := shorten(t, example, `(\b(?:group_wait|group_interval|repeat_interval): )([0-9]\w*)()`)
	return receiving(t, config, receiver)
}

// exampleReceivers are the receivers of the example, without the one that is a comment.
var exampleReceivers = regexp.MustCompile(`(?m)^  - name: (\w+)\n(?:    .*\n)+`)

// receiving is a configuration of Alertmanager with webhooks of the test in the place of its receivers: one path for
// each.
func receiving(t *testing.T, config, receiver string) string {
	t.Helper()
	if n := len(exampleReceivers.FindAllString(config, -1)); n != len(receivers)+1 { // That of services.
		t.Fatalf("the example has %d receivers to replace", n)
	}
	return exampleReceivers.ReplaceAllString(config, "  - name: $1\n    webhook_configs: [{url: "+receiver+"/$1}]\n")
}

// shorten divides the durations that an expression finds as its second group.
func shorten(t *testing.T, text, expression string) string {
	t.Helper()
	durations := regexp.MustCompile(expression)
	if !durations.MatchString(text) {
		t.Fatalf("nothing to shorten: %s is not in\n%s", expression, text)
	}
	return durations.ReplaceAllStringFunc(text, func(found string) string {
		m := durations.FindStringSubmatch(found)
		d := time.Duration(must.Get(model.ParseDuration(m[2]))(t))
		return m[1] + model.Duration(scaled(d)).String() + m[3]
	})
}

// target is an exporter as Prometheus's service discovery has it.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// watch makes an exporter a target of Prometheus.
func (s *alertStack) watch(t *testing.T, w *watcher) {
	t.Helper()
	s.watchers = append(s.watchers, w)
	s.writeTargets(t)
}

// unwatch takes an exporter out of the targets, as a service discovery does that has lost it.
func (s *alertStack) unwatch(t *testing.T, w *watcher) {
	t.Helper()
	s.watchers = slices.DeleteFunc(s.watchers, func(have *watcher) bool { return have == w })
	s.writeTargets(t)
}

// writeTargets replaces the file at once, so that Prometheus never reads half of it.
func (s *alertStack) writeTargets(t *testing.T) {
	t.Helper()
	targets := []target{} // Not null, if there are none.
	for _, w := range s.watchers {
		targets = append(targets, target{[]string{w.HostPort()}, map[string]string{"cluster": w.cluster}})
	}
	must.Do(t, os.WriteFile(s.targetsFile+".new", must.Get(json.Marshal(targets))(t), 0o600))
	must.Do(t, os.Rename(s.targetsFile+".new", s.targetsFile))
}

// ruledAlert is an alert that pends or fires in Prometheus.
type ruledAlert struct {
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"`
}

// active returns the alerts that pend or fire.
func (s *alertStack) active(t *testing.T) []ruledAlert {
	t.Helper()
	return ask[struct{ Alerts []ruledAlert }](t, s.prometheus, "alerts", nil).Alerts
}

// routedAlert is an alert that Alertmanager has.
type routedAlert struct {
	Labels map[string]string `json:"labels"`
	Status struct {
		State       string   `json:"state"`
		InhibitedBy []string `json:"inhibitedBy"`
	} `json:"status"`
}

func (s *alertStack) routed(t *testing.T) []routedAlert {
	t.Helper()
	return getJSON[[]routedAlert](t, s.alertmanager.URL+"/api/v2/alerts")
}

// query returns the results of an expression now.
func (s *alertStack) query(t *testing.T, expr string) model.Vector {
	t.Helper()
	return evaluate(t, s.prometheus, expr)
}

// evaluate returns the results of an expression in a Prometheus now.
func evaluate(tb testing.TB, prometheus *harness.Exporter, expr string) model.Vector {
	tb.Helper()
	return ask[struct{ Result model.Vector }](tb, prometheus, "query", url.Values{"query": {expr}}).Result
}

// ask returns the data of an answer of Prometheus's API.
func ask[T any](tb testing.TB, prometheus *harness.Exporter, endpoint string, values url.Values) T {
	tb.Helper()
	return getJSON[struct{ Data T }](tb, prometheus.URL+"/api/v1/"+endpoint+"?"+values.Encode()).Data
}

func getJSON[T any](tb testing.TB, address string) T {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	req := must.Get(http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody))(tb)
	status, _, body := harness.Send(tb, req)
	if status != http.StatusOK {
		tb.Fatalf("%s: status %d: %s", address, status, body)
	}
	var answer T
	must.Do(tb, json.Unmarshal([]byte(body), &answer))
	return answer
}

// page is a notification as Alertmanager sends it to a webhook.
type page struct {
	// receiver is the path that it arrived at.
	receiver string
	at       time.Time

	Status      string            `json:"status"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
}

// pageLog is the person on call: it receives all notifications and keeps them.
type pageLog struct {
	url string

	mu    sync.Mutex
	pages []page
}

func newPageLog(t *testing.T) *pageLog {
	t.Helper()
	l := &pageLog{}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

func (l *pageLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := page{receiver: strings.TrimPrefix(r.URL.Path, "/"), at: time.Now()}
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages = append(l.pages, p)
}

// all returns the notifications so far, in the order in which they arrived.
func (l *pageLog) all() []page {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pages)
}

// String has a line for each alert in each notification.
func (l *pageLog) String() string {
	var b strings.Builder
	for i, p := range l.all() {
		for _, a := range p.Alerts {
			fmt.Fprintf(&b, "%d %s %s %s: %s\n", i+1, p.at.Format(time.TimeOnly), p.receiver, a.Status, alertText(a.Labels))
		}
	}
	return b.String()
}
