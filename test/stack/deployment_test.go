// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// documented returns the configuration for Prometheus in docs/deployment.md that contains a text, with what is different in the test in the
// place of what the document has as an example: pairs of old and new.
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
	harness.Must(t, yaml.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(blocks[0].Text)), &config))
	return config
}

// prometheusWith starts a Prometheus with this configuration, which sends its alerts to that Alertmanager, if any.
func prometheusWith(t *testing.T, config map[string]any, alertmanager *harness.Exporter, flags ...string) *alertStack {
	t.Helper()
	return &alertStack{prometheus: runPrometheus(t, t.TempDir(), config, flags...), alertmanager: alertmanager}
}

// Sharded by the hash of the cluster's name, each cluster has all of its exporters in one shard, and no shard has them all.
func TestStackDeployment_Shards(t *testing.T) {
	const shards, clusters = 4, 16
	var targets []alertTarget
	for i := range clusters { // Nobody is there: this is about who would be asked.
		targets = append(targets, alertTarget{
			[]string{fmt.Sprintf("127.0.1.%d:1", i), fmt.Sprintf("127.0.2.%d:1", i)}, map[string]string{"cluster": fmt.Sprintf("cluster-%d", i)},
		})
	}
	content, err := json.Marshal(targets)
	harness.Must(t, err)
	folder := harness.WriteFiles(t, map[string]string{"targets.yml": string(content)})
	var jobs []any
	for shard := range shards {
		config := documented(t, "hashmod", "/etc/prometheus/consul/*.yml", filepath.Join(folder, "*.yml"), `regex: "0"`, fmt.Sprintf("regex: %q", fmt.Sprint(shard)))
		job := config["scrape_configs"].([]any)[0].(map[string]any)
		job["job_name"] = fmt.Sprint("shard-", shard)
		jobs = append(jobs, job)
	}
	p := prometheusWith(t, map[string]any{"scrape_configs": jobs}, nil)
	var shardsOf map[string][]string // By cluster: that of each of its exporters.
	harness.WaitFor(t, 30*time.Second, "all targets", func() string {
		var answer struct {
			Data struct {
				ActiveTargets []struct{ Labels map[string]string }
			}
		}
		getJSON(t, p.prometheus.URL+"/api/v1/targets?state=active", &answer)
		shardsOf = make(map[string][]string)
		for _, target := range answer.Data.ActiveTargets {
			shardsOf[target.Labels["cluster"]] = append(shardsOf[target.Labels["cluster"]], target.Labels["job"])
		}
		if n := len(answer.Data.ActiveTargets); n != 2*clusters {
			return fmt.Sprintf("there are %d; want %d", n, 2*clusters)
		}
		return ""
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

// A pair of Prometheus servers asks one exporter about many clusters, and is one to Alertmanager; a Prometheus above it gets the overview, and a
// store all but what is not worth keeping.
func TestStackDeployment_OneView(t *testing.T) {
	c := consultest.Start(t, consultest.Options{Servers: 1})
	harness.Must(t, c.LoadCatalog(t.Context(), consultest.Catalog{Nodes: 2, Services: 3, Instances: 6}))
	agent := strings.TrimPrefix(c.Servers[0].URL(), "http://")
	folder := harness.WriteFiles(t, map[string]string{
		"config.yml": "modules: {production: {targets: [127.0.0.0/8]}, lab: {targets: [127.0.0.0/8]}}",
		"rules.yml":  scaledPack(t, nil),
	})
	exporter := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--config.file="+filepath.Join(folder, "config.yml"))
	alertmanager := startAlertmanager(t, scaledAlertmanager(t, newPageLog(t).url))
	store := prometheusWith(t, map[string]any{}, nil, "--web.enable-remote-write-receiver")

	pair := make(map[string]*alertStack)
	for _, replica := range []string{"a", "b"} {
		config := documented(t, "replica: a", "replica: a", "replica: "+replica, "alertmanager.example:9093", alertmanager.HostPort())
		maps.Copy(config, documented(t, "metrics_path: /probe",
			`"10.1.0.5:8500", "10.2.0.5:8500"`, fmt.Sprintf("%q", agent), "192.0.2.5:8500", agent, "localhost:9107", exporter.HostPort(),
			"{module: production}", "{module: production, cluster: production}", "{module: lab}", "{module: lab, cluster: lab}"))
		maps.Copy(config, documented(t, "remote_write:", "https://mimir.example/api/v1/push", store.prometheus.URL+"/api/v1/write"))
		maps.Copy(config["global"].(map[string]any), map[string]any{"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"})
		config["rule_files"] = []string{filepath.Join(folder, "rules.yml")}
		pair[replica] = prometheusWith(t, config, alertmanager)
	}
	config := documented(t, "job_name: federate", `"prometheus-eu.example:9090", "prometheus-us.example:9090"`, fmt.Sprintf("%q", pair["a"].prometheus.HostPort()))
	config["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"}
	above := prometheusWith(t, config, alertmanager)

	// Who has how many series of each family of a cluster.
	families := func(p *alertStack, cluster string) map[string]string {
		counts := make(map[string]string)
		for _, s := range p.query(t, fmt.Sprintf(`count by (family) (label_replace({__name__!="", cluster=%q}, "family", "$1", "__name__", "(.*)"))`, cluster)) {
			counts[s.Metric["family"]] = fmt.Sprint(s.Value[1])
		}
		return counts
	}
	for _, cluster := range []string{"production", "lab"} {
		harness.WaitFor(t, 60*time.Second, "the verdicts about "+cluster+" to arrive", func() string {
			below, overview, kept := families(pair["a"], cluster), families(above, cluster), families(store, cluster)
			for _, name := range []string{"consul_up", "consul_cluster_leaders", "consul:cluster_failure_margin:max"} {
				if overview[name] != "1" || kept[name] != "2" {
					return fmt.Sprintf("above has %q of %s, the store %q; want 1, and one of each of the pair", overview[name], name, kept[name])
				}
			}
			if below["consul_service_tag"] != "18" || kept["consul_catalog_service_node_healthy"] == "" {
				return fmt.Sprintf("below has %q tags, the store %q instances", below["consul_service_tag"], kept["consul_catalog_service_node_healthy"])
			}
			return ""
		})
		series := 0
		for name, n := range families(above, cluster) {
			if !strings.HasPrefix(name, "consul_cluster_") && !strings.HasPrefix(name, "consul:cluster_") && name != "consul_up" && name != "ALERTS" {
				t.Errorf("above has %s of %s: that is no overview", name, cluster)
			}
			var count int
			_, err := fmt.Sscan(n, &count)
			harness.Must(t, err)
			series += count
		}
		if series < 12 || series > 60 {
			t.Errorf("above has %d series of %s; docs/deployment.md says some dozen", series, cluster)
		}
		for name := range families(store, cluster) {
			if slices.Contains([]string{"consul_service_tag", "consul_service_meta_info", "consul_service_checks"}, name) {
				t.Errorf("the store has %s of %s, which it was not to get", name, cluster)
			}
		}
	}
	if up := store.query(t, `consul_up{cluster="lab", region="eu", replica="b"}`); len(up) != 1 || up[0].Value[1] != "1" {
		t.Errorf("consul_up of the store, with the labels of who wrote it, is %v; want 1", up)
	}

	harness.Must(t, c.Servers[0].Kill())
	quorumLost := func(labels map[string]string) bool {
		return labels["alertname"] == "ConsulQuorumLost" && labels["cluster"] == "production"
	}
	harness.WaitFor(t, 60*time.Second, "both of the pair to send their alerts, and for their arrival above", func() string {
		for replica, s := range pair {
			if !slices.ContainsFunc(s.active(t), func(a ruledAlert) bool { return quorumLost(a.Labels) && a.State == "firing" }) {
				return replica + " does not see that the quorum is lost"
			}
			_, metrics, err := s.prometheus.Get(t.Context(), "/metrics", 10*time.Second)
			harness.Must(t, err)
			if harness.ParseSamples(t, metrics)[fmt.Sprintf("prometheus_notifications_sent_total{alertmanager=%q}", alertmanager.URL+"/api/v2/alerts")] == 0 {
				return replica + " has sent nothing to Alertmanager"
			}
		}
		if len(above.query(t, `ALERTS{alertname="ConsulQuorumLost", alertstate="firing", cluster="production", region="eu"}`)) != 1 {
			return "the alert is not above"
		}
		return ""
	})
	routed := slices.DeleteFunc(above.routed(t), func(a routedAlert) bool { return !quorumLost(a.Labels) })
	if len(routed) != 1 || routed[0].Labels["region"] != "eu" || routed[0].Labels["replica"] != "" {
		t.Errorf("Alertmanager has %v; want one alert for the pair, with the region and without the replica", routed)
	}
}
