// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack && pictures

package stack_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/grafana"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestPictures plays the scenes of the pictures in docs/images and draws them: `make pictures`. The program in the
// environment variable RENDERER does it. It is called with the file of a dashboard, the picture's file, and the address
// of a Prometheus. The cluster is chosen already; of the other variables, all values are.
func TestPictures(t *testing.T) {
	renderer := os.Getenv("RENDERER")
	if renderer == "" {
		t.Fatal("RENDERER has to name a program that draws a dashboard")
	}
	const file = "dashboards/testdata/pictures.json"
	digests := make(map[string]string)
	must.Do(t, json.Unmarshal(must.Get(os.ReadFile(file))(t), &digests))
	for name, scene := range map[string]func(drawing){
		"fleet": drawing.fleet, "weak token": drawing.weakToken, "outages": drawing.outages,
	} {
		t.Run(name, func(t *testing.T) { scene(drawing{t, renderer, digests}) })
	}
	must.Do(t, os.WriteFile(file, append(must.Get(json.MarshalIndent(digests, "", "  "))(t), '\n'), 0o644))
}

type drawing struct {
	t        *testing.T
	renderer string
	// digests are those of the dashboards, by picture.
	digests map[string]string
}

// draw draws a picture.
func (d drawing) draw(name string, prometheus *harness.Exporter) {
	d.t.Helper()
	i := slices.IndexFunc(grafana.Pictures, func(p grafana.Picture) bool { return p.Name == name })
	p := grafana.Pictures[i]
	for _, f := range must.Get(dashboards.Files())(d.t) {
		if f.Name != p.Dashboard+".json" {
			continue
		}
		content, digest, err := p.Draw(f.Content)
		must.Do(d.t, err)
		file := filepath.Join(d.t.TempDir(), f.Name)
		if p.Dashboard != "fleet" {
			// Its exporter has no labels cluster and datacenter.
			one := strings.NewReplacer("$cluster", "", "$datacenter", "", "$job", "consul")
			content = []byte(one.Replace(string(content)))
		}
		must.Do(d.t, os.WriteFile(file, content, 0o600))
		image := must.Get(filepath.Abs("docs/images/" + name + ".png"))(d.t)
		cmd := exec.CommandContext(d.t.Context(), d.renderer, file, image, prometheus.URL)
		// It may complain about queries without a result.
		if out, err := cmd.CombinedOutput(); err != nil {
			d.t.Logf("%s: %v: %s", name, err, out)
		}
		if info := must.Get(os.Stat(image))(d.t); time.Since(info.ModTime()) > time.Minute {
			d.t.Errorf("%s was not drawn", image)
		}
		d.digests[name] = digest
	}
}

// watch has a Prometheus scrape the exporter. Alerts wait for nothing, and end at once.
func (d drawing) watch(e *harness.Exporter) *harness.Exporter {
	dir := d.t.TempDir()
	rules := keptTimes.ReplaceAll(impatient(d.t), nil)
	file := filepath.Join(dir, "rules.yml")
	must.Do(d.t, os.WriteFile(file, rules, 0o600))
	config := scrapeConfig(5*time.Second, 5*time.Second, static(e))
	config["rule_files"] = []string{file}
	return runPrometheus(d.t, dir, config)
}

// until waits until an expression has a result.
func (d drawing) until(prometheus *harness.Exporter, expr string) {
	d.t.Helper()
	harness.WaitFor(d.t, 5*time.Minute, expr, func() string {
		return harness.Unless(len(evaluate(d.t, prometheus, expr)) > 0, "it has no result")
	})
}

// fleet is one of 40 clusters.
func (d drawing) fleet() {
	names := []string{"billing", "dev", "edge", "payments", "platform", "prod", "search", "staging"}
	series := map[int]map[string]string{
		3: lostSeries, 9: unknownSeries, 14: atRiskSeries, 20: splitSeries, 33: singleSeries,
	}
	var clusters []*madeUp
	for i := range 40 {
		name := fmt.Sprintf("%s-%d", names[i%len(names)], 1+i/len(names))
		clusters = append(clusters, &madeUp{name: name, datacenter: fmt.Sprintf("dc%d", 1+i%3), series: series[i]})
	}
	prometheus := watched{clusters: clusters, services: 5, interval: 5 * time.Second}.start(d.t)
	d.until(prometheus, "count(consul:cluster_leaders:max) >= 39")
	clusters[26].gone.Store(true)
	d.until(prometheus, `ALERTS{alertname="ConsulExporterMissing", alertstate="firing", cluster!=""}`)
	// What looks back a minute fires with an alert that waits for nothing, and not with one that does.
	d.until(prometheus, `absent(ALERTS{alertname="ConsulQuorumUnknown", cluster="edge-4"})`)
	d.draw("fleet", prometheus)
}

// weakToken is a token that may read nothing.
func (d drawing) weakToken() {
	c := consultest.Start(d.t, consultest.Options{Servers: 3, ACL: true})
	token := must.Get(c.NewToken(d.t.Context(), `key_prefix "x" { policy = "read" }`))(d.t)
	file := filepath.Join(d.t.TempDir(), "token")
	must.Do(d.t, os.WriteFile(file, []byte(token), 0o600))
	e := harness.StartExporter(d.t, nil, "--consul.server="+c.Servers[0].URL(), "--consul.token-file="+file)
	prometheus := d.watch(e)
	d.until(prometheus, `ALERTS{alertname="ConsulCollectorFails", reason="refused", alertstate="firing"}`)
	d.draw("overview-weak-token", prometheus)
}

// outages are those of one cluster, one after the other.
func (d drawing) outages() {
	t := d.t
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Deviations: steady()})
	must.Do(t, c.WaitSynced(t.Context()))
	var asked []string
	for _, a := range slices.Concat(c.Clients, c.Servers) {
		asked = append(asked, "--consul.server="+a.URL())
	}
	prometheus := d.watch(harness.StartExporter(t, nil, asked...))
	healthy := "min_over_time(consul_cluster_failure_margin[30s]) == 1"
	d.until(prometheus, "count_over_time(consul_cluster_failure_margin[10m]) > 24")
	d.until(prometheus, healthy)
	d.draw("overview-healthy", prometheus)

	leader := harness.LeaderOf(t, c)
	must.Do(t, leader.Kill())
	d.until(prometheus, "max_over_time(consul_cluster_failure_margin[1m]) <= 0 and consul_cluster_leaders == 1")
	d.draw("overview-leader-down", prometheus)
	must.Do(t, leader.Restart(t.Context()))
	d.until(prometheus, healthy)

	leader = harness.LeaderOf(t, c)
	followers := harness.Others(c, leader)
	must.Do(t, followers[0].Stop())
	d.until(prometheus, `ALERTS{alertname="ConsulServerHung", alertstate="firing"}`)
	d.draw("ports-hung", prometheus)
	must.Do(t, followers[1].Stop())
	d.until(prometheus, `min_over_time(consul_cluster_quorum_state{state="lost"}[30s]) == 1`)
	d.draw("raft-quorum-lost", prometheus)
	for _, f := range followers {
		must.Do(t, f.Continue())
	}
	d.until(prometheus, healthy)

	harness.RegisterInAllStates(t, c.Clients[0].Client().Agent())
	breakService(t, prometheus, c.Clients[0].Client().Agent())
	d.until(prometheus, `ALERTS{alertname="ConsulServiceDown", alertstate="firing"}`)
	d.draw("services-down", prometheus)
}
