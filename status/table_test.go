// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Each problem is an alert of the pack, with its severity.
func TestKinds(t *testing.T) {
	t.Parallel()
	files, err := alerts.Pack(nil)
	if err != nil {
		t.Fatal(err)
	}
	pack := make(map[[2]string]bool)
	for _, m := range regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)\n`).FindAllStringSubmatch(string(alerts.Join(files)), -1) {
		pack[[2]string{m[1], m[2]}] = true
	}
	seen := make(map[[2]string]bool)
	for _, k := range kinds {
		key := [2]string{k.alert, string(k.severity)}
		if !pack[key] || seen[key] {
			t.Errorf("%s: in the pack: %v; in the table before: %v", key, pack[key], seen[key])
		}
		seen[key] = true
		if k.stops && k.clause == nil {
			t.Errorf("%s: the sentence has no word for it", k.alert)
		}
	}
}

// The alert that a protocol names is a problem of the table, and its rule selects the ports of the protocol.
func TestProtocols(t *testing.T) {
	t.Parallel()
	files, err := alerts.Pack(nil)
	if err != nil {
		t.Fatal(err)
	}
	pack := string(alerts.Join(files))
	for _, p := range cluster.Protocols() {
		alert := p.Alert()
		if alert == "" {
			continue
		}
		if !slices.ContainsFunc(kinds, func(k kind) bool { return k.alert == alert }) {
			t.Errorf("%s: %s is no problem of the status", p, alert)
		}
		rule := regexp.MustCompile(`(?s)- alert: ` + alert + `\n.*?protocol=~?"([a-z_|]+)"`).FindStringSubmatch(pack)
		if rule == nil || !slices.Contains(strings.Split(rule[1], "|"), string(p)) {
			t.Errorf("%s: the rule of %s does not select its ports", p, alert)
		}
	}
}

// The thresholds are in the pack, and a warning comes before what it warns of.
func TestThresholds(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"port-latency":      slowPort > 0,
		"certificate":       certificateWarning > certificateCritical && certificateCritical > 0,
		"raft-last-contact": lastContactCritical > lastContactWarning && lastContactWarning > 0,
		"gossip-score":      gossipScoreCritical > gossipScoreWarning && gossipScoreWarning > 0,
		"raft-log-lag":      maxLogLag > 0 && maxApplyLag > 0,
	} {
		if !ok {
			t.Errorf("%s: the pack has no such threshold", name)
		}
	}
}
