// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// inhibitRule is an inhibition as Alertmanager has it.
type inhibitRule struct {
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	Equal  []string `yaml:"equal"`
}

func inhibitRules(t *testing.T) []inhibitRule {
	t.Helper()
	file, err := alerts.Alertmanager(nil)
	if err != nil {
		t.Fatal(err)
	}
	var example struct {
		InhibitRules []inhibitRule `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(file.Content, &example); err != nil {
		t.Fatal(err)
	}
	return example.InhibitRules
}

// holdsBack is what Alertmanager does: matchers are anchored at both ends, and a label that is missing is empty.
func (r *inhibitRule) holdsBack(t *testing.T, source, target map[string]string) bool {
	t.Helper()
	return matches(t, r.Source, source) && matches(t, r.Target, target) &&
		!slices.ContainsFunc(r.Equal, func(label string) bool { return source[label] != target[label] })
}

var matcherForm = regexp.MustCompile(`^(\w+)(=~?)"(.*)"$`)

func matches(t *testing.T, matchers []string, labels map[string]string) bool {
	t.Helper()
	for _, m := range matchers {
		part := matcherForm.FindStringSubmatch(m)
		if part == nil {
			t.Fatalf("%s is no matcher that this test knows", m)
		}
		value := labels[part[1]]
		switch {
		case part[2] == "=" && value != part[3]:
			return false
		case part[2] == "=~" && !anchored(part[3]).MatchString(value):
			return false
		}
	}
	return true
}

// compiled are the expressions by how they are written.
var compiled sync.Map

// anchored is an expression as Alertmanager has it.
func anchored(expression string) *regexp.Regexp {
	if re, ok := compiled.Load(expression); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile("^(?:" + expression + ")$")
	compiled.Store(expression, re)
	return re
}

// variants are what an alert may be about.
var variants = []map[string]string{
	{},
	{"server": "a"},
	{"server": "b"},
	{"server": "a", "port": "8500", "protocol": "http"},
	{"server": "a", "port": "8503", "protocol": "grpc_tls"},
	{"pool": "lan"},
	{"pool": "wan"},
	{"collector": "catalog"},
	{"collector": "raft"},
	{"instance": "i"},
	{"root": "r"},
}

// For each pair of alerts, whatever they are about, the causes say what the rendered inhibitions do.
func TestCauses_Rendered(t *testing.T) {
	t.Parallel()
	rules, causes := inhibitRules(t), alerts.Causes()
	if len(rules) != len(causes) {
		t.Fatalf("%d inhibitions are rendered of %d causes", len(rules), len(causes))
	}
	names := packAlerts(t)
	for i, c := range causes {
		held := 0
		sources, targets := names, names
		if c.Source.Names != nil {
			sources = append(slices.Clone(c.Source.Names), "ConsulQuorumAtRisk")
		}
		if c.Target.Names != nil {
			targets = append(slices.Clone(c.Target.Names), "ConsulQuorumAtRisk")
		}
		if c.Source.Names == nil && c.Target.Names == nil {
			sources, targets = names[:6], names[:6]
		}
		for _, source := range instances(sources) {
			for _, target := range instances(targets) {
				want := rules[i].holdsBack(t, withName(source), withName(target))
				if got := c.HoldsBack(source, target); got != want {
					t.Errorf("%v and %v: the cause says %v, Alertmanager %v", source, target, got, want)
				}
				if want {
					held++
				}
			}
		}
		if held == 0 {
			t.Errorf("cause %d holds nothing back: %+v", i, c)
		}
	}
}

// instances are alerts of these names, of all severities and about all variants.
func instances(names []string) []alerts.Alert {
	var all []alerts.Alert
	for _, name := range names {
		for _, severity := range []string{"critical", "warning", "info"} {
			for _, v := range variants {
				labels := map[string]string{"severity": severity}
				maps.Copy(labels, v)
				all = append(all, alerts.Alert{Name: name, Labels: labels})
			}
		}
	}
	return all
}

// withName are the labels with the alert's name among them, and those of the cluster, which is one.
func withName(a alerts.Alert) map[string]string {
	labels := map[string]string{"alertname": a.Name, "cluster": "c", "datacenter": "dc1", "job": "consul"}
	maps.Copy(labels, a.Labels)
	return labels
}

// packAlerts are the names of the alerts in the pack.
func packAlerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\s+- alert: (\S+)$`).FindAllStringSubmatch(string(alerts.Join(pack(t, nil))), -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// Each name in a cause is that of an alert: one that is misspelt would hold back nothing.
func TestCauses_Names(t *testing.T) {
	t.Parallel()
	names := packAlerts(t)
	for _, c := range alerts.Causes() {
		for _, name := range slices.Concat(c.Source.Names, c.Target.Names) {
			if !slices.Contains(names, name) {
				t.Errorf("there is no alert %s", name)
			}
		}
	}
}

// An alert is held back by one that fires, and not by itself.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	alert := func(name, severity, server string) alerts.Alert {
		labels := map[string]string{"severity": severity}
		if server != "" {
			labels["server"] = server
		}
		return alerts.Alert{Name: name, Labels: labels}
	}
	lost, down := alert("ConsulQuorumLost", "critical", ""), alert("ConsulServerDown", "critical", "a")
	firing := []alerts.Alert{lost, down}
	var held []string
	for _, target := range []alerts.Alert{
		lost, down, alert("ConsulNoLeader", "critical", ""), alert("ConsulRPCPortDown", "critical", "a"), alert("ConsulRPCPortDown", "critical", "b"),
		alert("ConsulQuorumAtRisk", "warning", ""),
	} {
		if alerts.HeldBack(target, firing) {
			held = append(held, fmt.Sprint(target.Name, " ", target.Labels["server"]))
		}
	}
	if got, want := strings.Join(held, ","), "ConsulNoLeader ,ConsulRPCPortDown a"; got != want {
		t.Errorf("held back are %q; want %q", got, want)
	}
}
