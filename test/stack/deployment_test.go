// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// documented returns the configuration for Prometheus in docs/deployment.md that contains a text, with the examples
// of the document replaced: pairs of old and new.
func documented(t *testing.T, text string, replace ...string) (config map[string]any) {
	t.Helper()
	blocks := slices.DeleteFunc(harness.ReadDocument(t, "docs/deployment.md").Blocks, func(b harness.CodeBlock) bool {
		return b.Language != "yaml" || !strings.Contains(b.Text, text)
	})
	if len(blocks) != 1 {
		t.Fatalf("%d pieces of YAML in docs/deployment.md have %q; want one", len(blocks), text)
	}
	for pair := range slices.Chunk(replace, 2) {
		if !strings.Contains(blocks[0].Text, pair[0]) {
			t.Fatalf("the configuration in docs/deployment.md has no %s to replace:\n%s", pair[0], blocks[0].Text)
		}
	}
	must.Do(t, yaml.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(blocks[0].Text)), &config))
	return config
}

// prometheusWith starts a Prometheus with this configuration, which sends its alerts to that Alertmanager, if any.
func prometheusWith(t *testing.T, config map[string]any, alertmanager *harness.Exporter, flags ...string) *alertStack {
	t.Helper()
	return &alertStack{prometheus: runPrometheus(t, t.TempDir(), config, flags...), alertmanager: alertmanager}
}

// inOverview are the names that the Prometheus above gets.
var inOverview = regexp.MustCompile(`^(consul[_:]cluster_.*|consul_up|ALERTS)$`)

// Sharded by the hash of the cluster's name, each cluster has all of its exporters in one shard, and no shard has
// them all.
func TestStackDeployment_Shards(t *testing.T) {
	t.Parallel()
	const shards, clusters = 4, 16
	var targets []target
	for i := range clusters { // Nothing listens there: this is about which would be scraped.
		addresses := []string{fmt.Sprintf("127.0.1.%d:1", i), fmt.Sprintf("127.0.2.%d:1", i)}
		targets = append(targets, target{addresses, map[string]string{"cluster": fmt.Sprintf("cluster-%d", i)}})
	}
	file := harness.WriteFile(t, "targets.yml", string(must.Get(json.Marshal(targets))(t)))
	var jobs []any
	for shard := range shards {
		config := documented(t, "hashmod", "/etc/prometheus/consul/*.yml", filepath.Join(filepath.Dir(file), "*.yml"),
			`regex: "0"`, fmt.Sprintf(`regex: "%d"`, shard))
		job := config["scrape_configs"].([]any)[0].(map[string]any)
		job["job_name"] = fmt.Sprint("shard-", shard)
		jobs = append(jobs, job)
	}
	p := prometheusWith(t, map[string]any{"scrape_configs": jobs}, nil)
	var shardsOf map[string][]string // By cluster: that of each of its exporters.
	harness.WaitFor(t, 30*time.Second, "all targets", func() string {
		type targets struct {
			ActiveTargets []struct{ Labels map[string]string }
		}
		active := ask[targets](t, p.prometheus, "targets", url.Values{"state": {"active"}}).ActiveTargets
		shardsOf = make(map[string][]string)
		for _, target := range active {
			shardsOf[target.Labels["cluster"]] = append(shardsOf[target.Labels["cluster"]], target.Labels["job"])
		}
		return harness.Unless(len(active) == 2*clusters, "there are %d; want %d", len(active), 2*clusters)
	})
	used := make(map[string]bool)
	for cluster, of := range shardsOf {
		if len(of) != 2 || of[0] != of[1] {
			t.Errorf("the exporters of %s are in shards %v; want two in one", cluster, of)
		}
		used[of[0]] = true
	}
	if len(shardsOf) != clusters || len(used) != shards {
		t.Errorf("%d clusters are in %d shards; want %d in %d", len(shardsOf), len(used), clusters, shards)
	}
}

// A pair of Prometheus servers scrapes many clusters from one exporter, and looks like one to Alertmanager. A
// Prometheus above it gets the overview, and a store gets everything except the series that are not worth keeping.
func TestStackDeployment_OneView(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	must.Do(t, c.LoadCatalog(t.Context(), consultest.Catalog{Nodes: 2, Services: 3, Instances: 6}))
	agent := strings.TrimPrefix(c.Servers[0].URL(), "http://")
	folder := harness.WriteFiles(t, map[string]string{
		"config.yml": "modules: {production: {targets: [127.0.0.0/8]}, lab: {targets: [127.0.0.0/8]}}",
		"rules.yml":  scaledPack(t, nil),
	})
	exporter := harness.StartExporter(t, nil,
		"--consul.server="+c.Servers[0].URL(), "--config.file="+filepath.Join(folder, "config.yml"))
	alertmanager := startAlertmanager(t, scaledAlertmanager(t, newPageLog(t).url))
	store := prometheusWith(t, map[string]any{}, nil, "--web.enable-remote-write-receiver")

	pair := make(map[string]*alertStack)
	for _, replica := range []string{"a", "b"} {
		config := documented(t, "replica: a",
			"replica: a", "replica: "+replica, "alertmanager.example:9093", alertmanager.HostPort())
		maps.Copy(config, documented(t, "metrics_path: /probe",
			`"10.1.0.5:8500", "10.2.0.5:8500"`, fmt.Sprintf("%q", agent),
			"192.0.2.5:8500", agent, "localhost:9107", exporter.HostPort(),
			"{module: production}", "{module: production, cluster: production}", "{module: lab}", "{module: lab, cluster: lab}"))
		maps.Copy(config, documented(t, "remote_write:",
			"https://mimir.example/api/v1/push", store.prometheus.URL+"/api/v1/write"))
		times := scrapeConfig(2*time.Second, alertInterval, map[string]any{})["global"].(map[string]any)
		maps.Copy(config["global"].(map[string]any), times)
		config["rule_files"] = []string{filepath.Join(folder, "rules.yml")}
		pair[replica] = prometheusWith(t, config, alertmanager)
	}
	config := documented(t, "job_name: federate",
		`"prometheus-eu.example:9090", "prometheus-us.example:9090"`, fmt.Sprintf("%q", pair["a"].prometheus.HostPort()))
	config["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"}
	above := prometheusWith(t, config, alertmanager)

	// families counts the series of each family of a cluster.
	families := func(p *alertStack, cluster string) map[string]int {
		counts := make(map[string]int)
		for _, s := range p.query(t, fmt.Sprintf(`{__name__!="", cluster=%q}`, cluster)) {
			counts[string(s.Metric[model.MetricNameLabel])]++
		}
		return counts
	}
	for _, cluster := range []string{"production", "lab"} {
		harness.WaitFor(t, 60*time.Second, "the verdicts about "+cluster+" to arrive", func() string {
			below, overview, kept := families(pair["a"], cluster), families(above, cluster), families(store, cluster)
			for _, name := range []string{"consul_up", "consul_cluster_leaders", "consul:cluster_leaders:max"} {
				if overview[name] != 1 || kept[name] != 2 {
					return fmt.Sprintf("above has %d of %s, the store %d; want 1 and 2", overview[name], name, kept[name])
				}
			}
			tags, instances := below["consul_service_tag"], kept["consul_catalog_service_node_healthy"]
			return harness.Unless(tags == 18 && instances > 0, "below has %d tags, the store %d instances", tags, instances)
		})
		series := 0
		for name, n := range families(above, cluster) {
			if !inOverview.MatchString(name) {
				t.Errorf("above has %s of %s, which is no overview", name, cluster)
			}
			series += n
		}
		if series < 12 || series > 60 {
			t.Errorf("above has %d series of %s; docs/deployment.md says some dozen", series, cluster)
		}
		for name := range families(store, cluster) {
			if slices.Contains([]string{"consul_service_tag", "consul_service_meta_info", "consul_service_checks"}, name) {
				t.Errorf("the store has %s of %s, which should have been dropped", name, cluster)
			}
		}
	}
	if up := store.query(t, `consul_up{cluster="lab", region="eu", replica="b"}`); len(up) != 1 || up[0].Value != 1 {
		t.Errorf("consul_up of the store, with the labels of the Prometheus that wrote it, is %v; want 1", up)
	}

	must.Do(t, c.Servers[0].Kill()) // Then nothing answers, and whether there is a quorum is unknown.
	const unknown = `ALERTS{alertname="ConsulQuorumUnknown", alertstate="firing", cluster="production"}`
	harness.WaitFor(t, 60*time.Second, "both of the pair to send their alerts", func() string {
		for replica, s := range pair {
			if len(s.query(t, unknown)) != 1 {
				return replica + " does not see that the quorum is unknown"
			}
			sent := fmt.Sprintf("prometheus_notifications_sent_total{alertmanager=%q}", alertmanager.URL+"/api/v2/alerts")
			if s.prometheus.Scrape(t)[sent] == 0 {
				return replica + " has sent nothing to Alertmanager"
			}
		}
		found := above.query(t, unknown)
		return harness.Unless(len(found) == 1 && found[0].Metric["region"] == "eu", "the alert is not above")
	})
	routed := slices.DeleteFunc(above.routed(t), func(a routedAlert) bool {
		return a.Labels["alertname"] != "ConsulQuorumUnknown" || a.Labels["cluster"] != "production"
	})
	if len(routed) != 1 || routed[0].Labels["region"] != "eu" || routed[0].Labels["replica"] != "" {
		t.Errorf("Alertmanager has %v; want one alert for the pair, with the region and without the replica", routed)
	}
}
