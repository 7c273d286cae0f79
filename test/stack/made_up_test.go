// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// madeUp is a cluster of server-1 to server-3 that is not there: its exporters answer what those of a healthy cluster
// do, but for some series.
type madeUp struct {
	name, datacenter string
	// series are those that are not as in a healthy cluster, or all that begin so, up to a label. An empty value removes
	// them.
	series map[string]string
	// since is when they became so; they have always been, without one.
	since time.Time
	// gone is whether the exporters are down by now.
	gone atomic.Bool
}

// watched is how clusters are watched.
type watched struct {
	clusters []*madeUp
	// services is how many each of them has, and exporters how many watch it, at least one.
	services, exporters int
	interval            time.Duration
	// history is for how long there has been a Prometheus; what a rule looks back at is there, and no longer than that.
	history time.Duration
	// graphed are metrics of which all of the history is there.
	graphed []string
	// patient is whether alerts wait.
	patient bool
}

// reading is one series of an exporter.
type reading struct {
	family, series string
	value          float64
}

// usual is what a healthy cluster has, of what differs from scrape to scrape or is odd in the file; NaN is nothing.
var usual = map[string]float64{
	"consul_cluster_consistent_read_duration_seconds": 0.004, "consul_exporter_collector_duration_seconds": 0.02,
	"consul_port_connections": 4, "consul_port_probe_duration_seconds": 0.003,
	"consul_port_probe_phase_duration_seconds": 0.001, "consul_port_last_success_timestamp_seconds": 0,
	"consul_agent_raft_log_checksum_failures": math.NaN(), "consul_agent_rpc_rate_limit_exceeded_per_second": 0,
	"consul_agent_raft_oldest_log_age_seconds": 86400, "consul_serf_health_score": 0, "consul_serf_rtt_seconds": 0.002,
	"consul_connect_ca_root_expiry_timestamp_seconds": 2.1e9, "consul_serf_lan_member_status": 1,
	"consul_serf_lan_member_info": 1, "consul_server_raft_log_lag_entries": 0,
	"consul_exporter_query_results_filtered_by_acls": 0,
	`consul_serf_members{pool="lan",status="alive"}`: 4, `consul_serf_members{pool="lan",status="failed"}`: 0,
}

// unusual are families that most clusters do not have, or that are made up below.
var unusual = regexp.MustCompile(`^consul_(acl_|license_|peering_|sessions|catalog_|health_|service_)`)

// otherPorts are those of a server but 8300, which is in the file.
var otherPorts = []string{
	`port="8301",protocol="serf_lan",transport="tcp"`, `port="8301",protocol="serf_lan",transport="udp"`,
	`port="8302",protocol="serf_wan",transport="tcp"`, `port="8302",protocol="serf_wan",transport="udp"`,
	`port="8500",protocol="http",transport="tcp"`, `port="8501",protocol="https",transport="tcp"`,
	`port="8503",protocol="grpc_tls",transport="tcp"`, `port="8600",protocol="dns",transport="tcp"`,
	`port="8600",protocol="dns",transport="udp"`,
}

// healthyExporter is what the exporter of a healthy cluster answers, which has so many services of three instances.
func healthyExporter(tb testing.TB, services int) (list []reading) {
	tb.Helper()
	add := func(value float64, format string, args ...any) {
		series := fmt.Sprintf(format, args...)
		family, _, _ := strings.Cut(series, "{")
		list = append(list, reading{family, series, value})
	}
	text := string(must.Get(os.ReadFile("collector/testdata/healthy.prom"))(tb))
	text = regexp.MustCompile(`PORT\d|ADDRESS\d`).ReplaceAllStringFunc(text, func(s string) string {
		return map[string]string{"PORT": "8300", "ADDR": "10.0.0." + s[len(s)-1:] + ":8300"}[s[:4]]
	})
	const rpc = `port="8300",protocol="rpc",transport="tcp"`
	for line := range strings.Lines(text) {
		series, last, ok := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.LastIndex(line, " "); ok && at > 0 {
			series, last = line[:at], strings.TrimSpace(line[at:])
		}
		family, _, _ := strings.Cut(series, "{")
		if !ok || strings.HasPrefix(line, "#") || unusual.MatchString(line) {
			continue
		}
		value, found := usual[series]
		if !found {
			value, found = usual[family]
		}
		if !found {
			value = must.Get(strconv.ParseFloat(last, 64))(tb)
		}
		if math.IsNaN(value) {
			continue
		}
		add(value, "%s", series)
		for _, port := range otherPorts {
			if strings.Contains(series, rpc) {
				add(value, "%s", strings.Replace(series, rpc, port, 1))
			}
		}
	}
	for server := range 3 {
		for _, port := range []string{`port="8501",protocol="https"`, `port="8503",protocol="grpc_tls"`} {
			const labels = `{server="server-%d",%s,transport="tcp"}`
			add(2.1e9, "consul_port_tls_earliest_cert_expiry_timestamp_seconds"+labels, server+1, port)
			add(3e8, "consul_port_tls_earliest_cert_lifetime_seconds"+labels, server+1, port)
		}
		for _, transport := range []string{"tcp", "udp"} {
			const labels = `{server="server-%d",port="8600",protocol="dns",transport=%q}`
			add(3, "consul_dns_answers"+labels, server+1, transport)
			add(0, "consul_dns_response_code"+labels, server+1, transport)
		}
	}
	add(1.7e9, "process_start_time_seconds")
	add(1, `consul_exporter_build_info{version="1.0.0",goversion="go1.26"}`)
	for family, value := range map[string]float64{
		"go_goroutines": 12, "process_open_fds": 14, "process_resident_memory_bytes": 4e7, "process_cpu_seconds_total": 0.1,
	} {
		add(value, "%s", family)
	}
	return append(list, catalog(services)...)
}

// catalog has services with three instances each, on thirty nodes and the servers.
func catalog(services int) (list []reading) {
	const nodes = 30
	add := func(value float64, family, labels string, args ...any) {
		list = append(list, reading{family, family + fmt.Sprintf(labels, args...), value})
	}
	for _, status := range []string{"passing", "warning", "critical", "maintenance"} {
		value := map[string]float64{"passing": 1}[status]
		for i := range nodes + 3 {
			node := fmt.Sprintf("client-%d", i+1)
			if i >= nodes {
				node = fmt.Sprintf("server-%d", i+1-nodes)
			}
			add(value, "consul_health_node_status", `{check="serfHealth",node=%q,status=%q}`, node, status)
		}
		add(3*value, "consul_catalog_service_instances", `{service_name="consul",status=%q}`, status)
		for i := range services {
			add(3*value, "consul_catalog_service_instances", `{service_name="service-%d",status=%q}`, i+1, status)
			for n := range 3 {
				add(value, "consul_health_service_status",
					`{check="alive",node="client-%d",service_id="service-%d-%d",service_name="service-%[2]d",status=%[4]q}`,
					(i+n)%nodes+1, i+1, n+1, status)
			}
		}
	}
	for i := range 3 * services {
		const labels = `service_id="service-%d-%d",node="client-%d"`
		service, instance, node := i/3+1, i%3+1, (i/3+i%3)%nodes+1
		add(1, "consul_service_tag", "{"+labels+`,tag="v1"}`, service, instance, node)
		add(1, "consul_catalog_service_node_healthy", "{"+labels+`,service_name="service-%[1]d"}`, service, instance, node)
		add(1, "consul_service_checks",
			"{"+labels+`,service_name="service-%[1]d",check_id="alive",check_name="Alive"}`, service, instance, node)
	}
	add(nodes+3, "consul_catalog_nodes", "")
	add(float64(services)+1, "consul_catalog_services", "")
	return list
}

// at is the value at a time: counters and indexes grow, and what is measured goes up and down.
func (r reading) at(t time.Time) float64 {
	age := math.Max(0, float64(t.UnixMilli())/1000-1.7e9)
	switch {
	case strings.HasSuffix(r.family, "_last_success_timestamp_seconds"):
		return float64(t.Unix())
	case strings.HasSuffix(r.family, "_total"):
		return math.Floor(r.value * age / 15)
	case strings.HasPrefix(r.family, "consul_server_raft_") && strings.HasSuffix(r.family, "_index"):
		return math.Floor(age)
	case strings.HasSuffix(r.family, "_seconds") && r.value < 1:
		wave := math.Sin(age/40+float64(len(r.series))) + math.Sin(age/13+float64(len(r.series)%7))
		return r.value * (1 + wave/5)
	}
	return r.value
}

// reads is the value of a series of this cluster's exporters at a time. There may be none.
func (c *madeUp) reads(r reading, t time.Time) (value string, ok bool) {
	if t.After(c.since) {
		for changed, to := range c.series {
			if r.series == changed || strings.HasPrefix(r.series, changed+"{") || strings.HasPrefix(r.series, changed+",") {
				return to, to != ""
			}
		}
	}
	return strconv.FormatFloat(r.at(t), 'g', -1, 64), true
}

func (c *madeUp) serve(w http.ResponseWriter, healthy []reading) {
	if c.gone.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	b := bufio.NewWriter(w)
	now := time.Now()
	for _, r := range healthy {
		if value, ok := c.reads(r, now); ok {
			fmt.Fprintln(b, r.series, value)
		}
	}
	_ = b.Flush() // Prometheus may have gone.
}

// labels are those of an exporter's target.
func (w watched) labels(c *madeUp, exporter int) map[string]string {
	labels := map[string]string{"instance": c.name, "job": "consul"}
	if w.exporters > 1 {
		labels["instance"] = fmt.Sprintf("%s-%d", c.name, exporter+1)
	}
	if c.datacenter != "" {
		labels["cluster"], labels["datacenter"] = c.name, c.datacenter
	}
	return labels
}

// start has a Prometheus with the exporter's rules scrape the clusters.
func (w watched) start(tb testing.TB) *harness.Exporter {
	tb.Helper()
	w.exporters = max(w.exporters, 1)
	healthy := healthyExporter(tb, w.services)
	var targets []any
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	for _, c := range w.clusters {
		mux.HandleFunc("/"+c.name, func(w http.ResponseWriter, _ *http.Request) { c.serve(w, healthy) })
		for exporter := range w.exporters {
			labels := w.labels(c, exporter)
			labels["__metrics_path__"] = "/" + c.name
			targets = append(targets, map[string]any{
				"targets": []string{strings.TrimPrefix(server.URL, "http://")}, "labels": labels,
			})
		}
	}
	dir := tb.TempDir()
	rules := alerts.Join(must.Get(alerts.Pack(nil))(tb))
	if w.history > 0 {
		of := lookedBackAt(tb, string(rules))
		for _, family := range w.graphed {
			of[family] = w.history
		}
		w.writeHistory(tb, dir, healthy, of)
	}
	if !w.patient {
		rules = keptTimes.ReplaceAll(pendingTimes.ReplaceAll(rules, []byte("$1 0s")), nil)
	}
	file := filepath.Join(dir, "rules.yml")
	must.Do(tb, os.WriteFile(file, rules, 0o600))
	config := scrapeConfig(w.interval, w.interval, map[string]any{"static_configs": targets})
	config["rule_files"] = []string{file}
	return runPrometheus(tb, dir, config)
}

// lookedBackAt are the metrics that rules look at the past of, and for how long.
func lookedBackAt(tb testing.TB, rules string) map[string]time.Duration {
	tb.Helper()
	ranges := make(map[string]time.Duration)
	for _, m := range regexp.MustCompile(`\[(\w+)(?::\w*)?\]`).FindAllStringSubmatchIndex(rules, -1) {
		length := time.Duration(must.Get(model.ParseDuration(rules[m[2]:m[3]]))(tb))
		for _, family := range regexp.MustCompile(`\b(consul_|up\b)\w*`).FindAllString(operand(rules[:m[0]]), -1) {
			ranges[family] = max(ranges[family], length)
		}
	}
	return ranges
}

// operand is the last selector, or expression in parentheses, of a text.
func operand(text string) string {
	depth := 0
	for i, c := range slices.Backward([]byte(text)) {
		switch c {
		case ')', '}':
			depth++
		case '(', '{':
			depth--
		}
		if depth < 0 || depth == 0 && (c == '(' || c == ' ' || c == '\n') {
			return text[i:]
		}
	}
	return text
}

// writeHistory writes the data of a Prometheus that scraped the clusters before, of families that are looked back at.
func (w watched) writeHistory(tb testing.TB, dir string, healthy []reading, of map[string]time.Duration) {
	tb.Helper()
	path := filepath.Join(dir, "history.om")
	file := must.Get(os.Create(path))(tb)
	text := bufio.NewWriter(file)
	byFamily := make(map[string][]reading)
	for _, r := range healthy {
		byFamily[r.family] = append(byFamily[r.family], r)
	}
	now := time.Now().Truncate(time.Second)
	for _, family := range slices.Sorted(maps.Keys(of)) {
		kind := "gauge"
		if strings.HasSuffix(family, "_total") {
			kind = "unknown" // Whose samples need no other name.
		}
		fmt.Fprintf(text, "# TYPE %s %s\n", family, kind)
		for _, c := range w.clusters {
			for exporter := range w.exporters {
				for _, r := range byFamily[family] {
					w.writeSeries(text, c, w.labels(c, exporter), r, now, min(w.history, of[family]))
				}
			}
		}
	}
	fmt.Fprintln(text, "# EOF")
	must.Do(tb, text.Flush())
	must.Do(tb, file.Close())
	harness.RunTool(tb, "promtool", "tsdb", "create-blocks-from", "openmetrics", path, filepath.Join(dir, "data"))
	must.Do(tb, os.Remove(path))
}

// writeSeries writes a series in OpenMetrics' format.
func (w watched) writeSeries(
	text io.Writer, c *madeUp, labels map[string]string, r reading, until time.Time, length time.Duration,
) {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	_, own, _ := strings.Cut(strings.TrimSuffix(r.series, "}"), "{")
	all := r.family + "{" + strings.Join(slices.DeleteFunc(append(pairs, own), isEmpty), ",") + "}"
	for t := until.Add(-length); t.Before(until); t = t.Add(w.interval) {
		if value, ok := c.reads(r, t); ok {
			fmt.Fprintln(text, all, value, cmp.Or(unix(t), "0"))
		}
	}
}

func isEmpty(s string) bool { return s == "" }
