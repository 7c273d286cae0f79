// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const troubleshooting = "docs/troubleshooting.md"

// docs/troubleshooting.md has each line that the exporter may log, with its level, and no other.
func TestTroubleshooting_Log(t *testing.T) {
	t.Parallel()
	documented := make(map[string]string) // Levels, by line.
	for _, row := range harness.ReadDocument(t, troubleshooting).Rows("level") {
		documented[row[1].Code[0]] = row[0].Text
	}
	// Lines of the exporter-toolkit.
	logged := map[string]string{"Listening on": "info", "TLS is disabled.": "info", "TLS is enabled.": "info"}
	call := regexp.MustCompile(`level\.(\w+)\([\w.]+\)\.Log\(\s*"msg", "([^"]*)"`)
	for _, file := range projectFiles(t, ".go") {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "test/") {
			continue
		}
		source := string(must.Get(os.ReadFile(file))(t))
		source = strings.ReplaceAll(source, `.Log("msg", c.Text)`, "") // These are by change and state.
		calls := call.FindAllStringSubmatch(source, -1)
		for _, m := range calls {
			logged[m[2]] = strings.ToLower(m[1])
		}
		if n := strings.Count(source, ").Log("); n != len(calls) {
			t.Errorf("%s logs %d lines, but only %d like level.Info(logger).Log(\"msg\", \"text\", ...)", file, n, len(calls))
		}
	}
	if diff := cmp.Diff(documented, logged); diff != "" {
		t.Errorf("lines of the log differ (-%s +code):\n%s", troubleshooting, diff)
	}
}

// It has each reason, exit code and state, and no other.
func TestTroubleshooting_Words(t *testing.T) {
	t.Parallel()
	codes := texts([]int{cli.ExitHealthy, cli.ExitDegraded, cli.ExitCritical, cli.ExitUnknown, cli.ExitUsage})
	states := slices.Concat(texts(cluster.RaftStates()), texts(cluster.PeeringStates()),
		texts(slices.Collect(maps.Keys(cli.LevelCodes))), texts(cluster.MemberStatuses()), texts(catalog.Statuses()),
		[]string{fmt.Sprint(cluster.StatusNone)}, collector.ConnectionStates())
	document := harness.ReadDocument(t, troubleshooting)
	for _, table := range []struct {
		name   string
		column int
		words  []string
	}{{"reason", 0, texts(probe.Reasons())}, {"code", 0, codes}, {"of", 1, states}} {
		slices.Sort(table.words)
		words := slices.Compact(table.words)
		if diff := cmp.Diff(words, document.Column(table.name, table.column)); diff != "" {
			t.Errorf("the table of %s differs (-code +%s):\n%s", table.name, troubleshooting, diff)
		}
	}
}

func texts[T any](words []T) (all []string) {
	for _, w := range words {
		all = append(all, fmt.Sprint(w))
	}
	return all
}

// It has the states that changes of state have in the log.
func TestTroubleshooting_Changes(t *testing.T) {
	t.Parallel()
	documented := make(map[string][]string)
	for _, row := range harness.ReadDocument(t, troubleshooting).Rows("change") {
		documented[row[0].Text] = row[1].Code
	}
	if diff := cmp.Diff(status.States(), documented); diff != "" {
		t.Errorf("the states in %s differ (-code +document):\n%s", troubleshooting, diff)
	}
}

// Each protocol is where it is explained, in the list of labels, and in the example of a configuration file.
func TestDocsProtocols(t *testing.T) {
	t.Parallel()
	for _, p := range cluster.Protocols() {
		for file, pattern := range map[string]string{
			"docs/deployment.md":      fmt.Sprintf("(?m)^\\| [0-9, ]*%d[0-9, ]* \\| [^|]*`%s`", p.DefaultPort(), p),
			"docs/metrics.md":         fmt.Sprintf("(?m)^\\| `port`, `protocol`, .*`%s`", p),
			"docs/config.example.yml": fmt.Sprintf(`(?m)^ +protocols: \[.*\b%s\b`, p),
		} {
			if !regexp.MustCompile(pattern).Match(must.Get(os.ReadFile(file))(t)) {
				t.Errorf("%s does not have protocol %s", file, p)
			}
		}
	}
}

// docs/configuration.md has the variables of Consul's CLI that options default to.
func TestDocsVariables(t *testing.T) {
	t.Parallel()
	documented := harness.ReadDocument(t, "docs/configuration.md").Column("variable", 0)
	for _, o := range new(config.Module).Options() {
		if variable, _, _ := strings.Cut(o.Env, "="); variable != "" && !slices.Contains(documented, variable) {
			t.Errorf("docs/configuration.md does not have %s", variable)
		}
	}
}
