// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

type inhibitRule struct {
	Source []matcher `yaml:"source_matchers"`
	Target []matcher `yaml:"target_matchers"`
	Equal  []string  `yaml:"equal"`
}

// matcher is one of Alertmanager's: anchored at both ends, and a label that is missing is empty.
type matcher struct {
	label string
	value *regexp.Regexp
}

var matcherForm = regexp.MustCompile(`^(\w+)(=~?)"(.*)"$`)

func (m *matcher) UnmarshalText(text []byte) error {
	part := matcherForm.FindStringSubmatch(string(text))
	if part == nil {
		return fmt.Errorf("%s is no matcher that this test knows", text)
	}
	value := part[3]
	if part[2] == "=" {
		value = regexp.QuoteMeta(value)
	}
	m.label, m.value = part[1], regexp.MustCompile("^(?:"+value+")$")
	return nil
}

// inhibitRules are those of the example with these settings.
func inhibitRules(t *testing.T, settings map[string]string) []inhibitRule {
	t.Helper()
	var example struct {
		InhibitRules []inhibitRule `yaml:"inhibit_rules"`
	}
	must.Do(t, yaml.Unmarshal(must.Get(alerts.Alertmanager(settings))(t).Content, &example))
	return example.InhibitRules
}

// holdsBack is what Alertmanager does.
func (r *inhibitRule) holdsBack(source, target map[string]string) bool {
	return match(r.Source, source) && match(r.Target, target) &&
		!slices.ContainsFunc(r.Equal, func(label string) bool { return source[label] != target[label] })
}

func match(matchers []matcher, labels map[string]string) bool {
	return !slices.ContainsFunc(matchers, func(m matcher) bool { return !m.value.MatchString(labels[m.label]) })
}

// variants are what an alert may be about.
var variants = []map[string]string{
	{},
	{"server": "a"},
	{"server": "b"},
	{"pool": "lan"},
	{"pool": "wan"},
	{"collector": "catalog"},
	{"collector": "raft"},
	{"server": "a", "port": "8500", "protocol": "http"},
	{"server": "a", "port": "8503", "protocol": "grpc_tls"},
	{"server": "a", "port": "8503", "protocol": "grpc_tls", "state": "expired"},
	{"instance": "i"},
	{"instance": "i", "state": "expired"},
	{"root": "r"},
	{"what": "services"},
	{"service_name": "web"},
}

// For each pair of alerts, whatever they are about, the causes say what the rendered inhibitions do. Each name in a
// cause is that of an alert: one that is misspelt would hold back nothing.
func TestCauses_Rendered(t *testing.T) {
	t.Parallel()
	rules, causes := inhibitRules(t, nil), alerts.Causes()
	if len(rules) != len(causes) {
		t.Fatalf("%d inhibitions are rendered of %d causes", len(rules), len(causes))
	}
	names := packAlerts(t)
	some := func(s alerts.Selector) []alerts.Alert {
		if s.Names == nil {
			return instances(names[:6])
		}
		return instances(append(slices.Clone(s.Names), "ConsulQuorumAtRisk"))
	}
	for i, c := range causes {
		for _, name := range slices.Concat(c.Source.Names, c.Target.Names) {
			if !slices.Contains(names, name) {
				t.Errorf("there is no alert %s", name)
			}
		}
		held := false
		for _, source := range some(c.Source) {
			heldBack, labels := alerts.HeldBack([]alerts.Alert{source}), withName(source)
			about := slices.DeleteFunc(slices.Clone(rules), func(r inhibitRule) bool { return !match(r.Source, labels) })
			for _, target := range some(c.Target) {
				want := slices.ContainsFunc(about, func(r inhibitRule) bool {
					return r.holdsBack(labels, withName(target))
				})
				if got := heldBack(target); got != want {
					t.Errorf("%v and %v: the causes say %v, Alertmanager %v", source, target, got, want)
				}
				held = held || rules[i].holdsBack(labels, withName(target))
			}
		}
		if !held {
			t.Errorf("cause %d holds nothing back: %+v", i, c)
		}
	}
}

// instances are alerts of these names, of all severities and about all variants.
func instances(names []string) []alerts.Alert {
	var all []alerts.Alert
	for _, name := range names {
		for _, severity := range severities {
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

// An alert is held back by one that fires, and not by itself. What follows from an unknown quorum is held back by that,
// and what a server says of itself is not.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	alert := func(name, severity, server string) alerts.Alert {
		return alerts.Alert{Name: name, Labels: map[string]string{"severity": severity, "server": server}}
	}
	lost, down := alert("ConsulQuorumLost", "critical", ""), alert("ConsulServerDown", "warning", "a")
	unknown := alert("ConsulQuorumUnknown", "critical", "")
	for target, want := range map[*alerts.Alert]bool{
		&lost: false, &down: false, new(alert("ConsulQuorumAtRisk", "warning", "")): false,
		new(alert("ConsulNoLeader", "critical", "")): true,
		new(alert("ConsulPortDown", "warning", "a")): true,
		new(alert("ConsulPortDown", "warning", "b")): false,
	} {
		if got := alerts.HeldBack([]alerts.Alert{lost, down})(*target); got != want {
			t.Errorf("%v is held back: %v; want %v", *target, got, want)
		}
	}
	for target, want := range map[*alerts.Alert]bool{
		&unknown: false, new(alert("ConsulRaftLastContact", "warning", "b")): true,
		new(alert("ConsulRaftLastContact", "critical", "b")):     true,
		new(alert("ConsulServerWithoutLeader", "critical", "b")): false,
		new(alert("ConsulServerHung", "critical", "a")):          false,
	} {
		if got := alerts.HeldBack([]alerts.Alert{unknown})(*target); got != want {
			t.Errorf("%v is held back while the quorum is unknown: %v; want %v", *target, got, want)
		}
	}
}
