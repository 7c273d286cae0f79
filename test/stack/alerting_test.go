// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

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
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// alertTimeFactor is by how much the tests shorten all times of the pack and of Alertmanager's configuration.
const alertTimeFactor = 10

// alertInterval is how often Prometheus evaluates the rules here, and alertScrapeInterval how often it scrapes. A scrape may take as long, which
// is what a busy machine needs: a scrape that was given up ends an alert, as it does in life.
const (
	alertInterval       = time.Second
	alertScrapeInterval = 3 * time.Second
)

// alertStack is a Prometheus with the pack, which sends its alerts to an Alertmanager with the example's configuration, which sends its
// notifications to the test.
type alertStack struct {
	prometheus, alertmanager *harness.Exporter
	pages                    *pageLog

	targetsFile string
	targets     []alertTarget
	// binary is the exporter.
	binary string
}

// alertTarget is an exporter as Prometheus's service discovery has it.
type alertTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// startAlerting starts the three, with these settings of the pack. They end with the test.
func startAlerting(t *testing.T, binary string, settings map[string]string) *alertStack {
	t.Helper()
	dir := t.TempDir()
	s := &alertStack{pages: newPageLog(t), targetsFile: filepath.Join(dir, "targets.json"), binary: binary}

	s.alertmanager = startAlertmanager(t, scaledAlertmanager(t, s.pages.url))

	rules := filepath.Join(dir, "rules.yml")
	harness.Must(t, os.WriteFile(rules, []byte(scaledPack(t, settings)), 0o600))
	s.writeTargets(t)
	config := filepath.Join(dir, "prometheus.yml")
	harness.Must(t, os.WriteFile(config, fmt.Appendf(nil, `global:
  scrape_interval: %[1]s
  scrape_timeout: %[1]s
  evaluation_interval: %[2]s
rule_files: [%[3]q]
alerting:
  alertmanagers:
    - static_configs: [{targets: [%[4]q]}]
scrape_configs:
  - job_name: consul
    file_sd_configs: [{files: [%[5]q], refresh_interval: 1s}]
`, alertScrapeInterval, alertInterval, rules, s.alertmanager.HostPort(), s.targetsFile), 0o600))
	s.prometheus = startTool(t, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--rules.alert.resend-delay="+scaled(time.Minute).String())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("notifications:\n%s", s.pages)
		}
	})
	return s
}

// startAlertmanager starts an Alertmanager that knows of no other.
func startAlertmanager(t *testing.T, config string) *harness.Exporter {
	t.Helper()
	dir := harness.WriteFiles(t, map[string]string{"alertmanager.yml": config})
	return startTool(t, "alertmanager", "--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "alertmanager"), "--cluster.listen-address=")
}

// startTool starts a server of the toolbox, and ends it with the test.
func startTool(tb testing.TB, name string, args ...string) *harness.Exporter {
	tb.Helper()
	binary, err := toolbox.Path(name)
	harness.Must(tb, err)
	p := harness.Launch(tb, binary, nil, args...)
	harness.WaitFor(tb, 60*time.Second, name+" to be ready", func() string {
		status, body, err := p.Get(tb.Context(), "/-/ready", time.Second)
		if err != nil {
			return err.Error()
		}
		if status != http.StatusOK {
			return body
		}
		return ""
	})
	return p
}

// scaled is a time as the tests have it.
func scaled(d time.Duration) time.Duration { return d / alertTimeFactor }

// scaledPack is the pack with all that takes time shortened: how long alerts pend, and how far their expressions look back.
func scaledPack(t *testing.T, settings map[string]string) string {
	t.Helper()
	files, err := alerts.Pack(settings)
	harness.Must(t, err)
	pack := string(alerts.Join(files))
	pack = shorten(t, pack, `(\b(?:keep_firing_)?for: )([0-9]\w*)()`)
	return shorten(t, pack, `(\[)([0-9]\w*)(\])`)
}

// scaledAlertmanager is the configuration of the example with its times shortened, and with the receivers of the test: one path for each.
func scaledAlertmanager(t *testing.T, receiver string) string {
	t.Helper()
	content, err := os.ReadFile("alerts/alertmanager.example.yml")
	harness.Must(t, err)
	config := shorten(t, string(content), `(\b(?:group_wait|group_interval|repeat_interval): )([0-9]\w*)()`)
	urls := regexp.MustCompile(`http://(\w+)\.example/consul`)
	if n := len(urls.FindAllString(config, -1)); n != 3 {
		t.Fatalf("the example has %d receivers to put the test in the place of; want 3", n)
	}
	return urls.ReplaceAllString(config, receiver+"/$1")
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
		d, err := model.ParseDuration(m[2])
		harness.Must(t, err)
		return m[1] + model.Duration(scaled(time.Duration(d))).String() + m[3]
	})
}

// exporter starts an exporter that Prometheus scrapes from then on, as one of those that watch a cluster.
func (s *alertStack) exporter(t *testing.T, cluster string, args ...string) *harness.Exporter {
	t.Helper()
	e := harness.Launch(t, s.binary, nil, append([]string{"--probe.timeout=1500ms", "--web.scrape-timeout-offset=100ms"}, args...)...)
	s.watch(t, cluster, e)
	return e
}

// watch makes an exporter a target of Prometheus.
func (s *alertStack) watch(t *testing.T, cluster string, e *harness.Exporter) {
	t.Helper()
	s.targets = append(s.targets, alertTarget{[]string{e.HostPort()}, map[string]string{"cluster": cluster}})
	s.writeTargets(t)
}

// unwatch is what a service discovery does that has lost an exporter.
func (s *alertStack) unwatch(t *testing.T, e *harness.Exporter) {
	t.Helper()
	s.targets = slices.DeleteFunc(s.targets, func(target alertTarget) bool { return "http://"+target.Targets[0] == e.URL })
	s.writeTargets(t)
}

// writeTargets writes the file in one go, so that Prometheus never reads half of it.
func (s *alertStack) writeTargets(t *testing.T) {
	t.Helper()
	content, err := json.Marshal(append([]alertTarget{}, s.targets...)) // Not null, if there are none.
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(s.targetsFile+".new", content, 0o600))
	harness.Must(t, os.Rename(s.targetsFile+".new", s.targetsFile))
}

// ruledAlert is an alert that pends or fires in Prometheus.
type ruledAlert struct {
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"`
}

// active returns what pends and fires.
func (s *alertStack) active(t *testing.T) []ruledAlert {
	t.Helper()
	var answer struct {
		Data struct {
			Alerts []ruledAlert `json:"alerts"`
		} `json:"data"`
	}
	getJSON(t, s.prometheus.URL+"/api/v1/alerts", &answer)
	return answer.Data.Alerts
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
	var answer []routedAlert
	getJSON(t, s.alertmanager.URL+"/api/v2/alerts", &answer)
	return answer
}

// series is one of the series that an expression has now.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// query returns what an expression has now.
func (s *alertStack) query(t *testing.T, expression string) []series {
	t.Helper()
	var answer struct {
		Data struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	getJSON(t, s.prometheus.URL+"/api/v1/query?"+url.Values{"query": {expression}}.Encode(), &answer)
	return answer.Data.Result
}

// value is what an expression without labels in its result is now; 0 without a result.
func (s *alertStack) value(t *testing.T, expression string) string {
	t.Helper()
	result := s.query(t, expression)
	if len(result) == 0 {
		return "0"
	}
	return fmt.Sprint(result[0].Value[1])
}

func getJSON(t *testing.T, address string, into any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	harness.Must(t, err)
	resp, err := http.DefaultClient.Do(req)
	harness.Must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %s", address, resp.Status)
	}
	harness.Must(t, json.NewDecoder(resp.Body).Decode(into))
}

// page is a notification as Alertmanager sends it to a webhook.
type page struct {
	// receiver is the path that it arrived at.
	receiver string
	at       time.Time

	Status      string            `json:"status"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []pagedAlert      `json:"alerts"`
}

// pagedAlert is an alert in a notification.
type pagedAlert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// pageLog is who is on call: it receives all notifications and keeps them.
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
