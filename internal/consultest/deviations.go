// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Deviation is a setting in which the agents of a cluster differ from Consul's defaults. Clusters have the defaults
// otherwise: autopilot removes dead servers, elections take up to twenty seconds, and so on. A cluster that deviates
// says why at the place:
//
//	consultest.Options{Deviations: []consultest.Deviation{
//		consultest.KeepDead.Because("the responder, not autopilot, is to remove the dead server"),
//	}}
//
// TestDeviations lists all of them with their reasons.
type Deviation struct {
	// Name is the name of the variable, and Setting the setting as Consul's documentation writes it, with its value.
	Name, Setting string
	// Reason says why a cluster needs it.
	Reason string

	config map[string]any
}

// Because returns the deviation with the reason why a cluster needs it.
func (d Deviation) Because(reason string) Deviation {
	d.Reason = reason
	return d
}

// These are all there are.
var (
	// KeepDead keeps a server that failed in the cluster. By default autopilot removes it some seconds later, if the
	// others are enough.
	KeepDead = deviation("KeepDead", "autopilot.cleanup_dead_servers", `false`)
	// FastElections makes servers miss their leader after one second, and elect another in one more. By default it takes
	// five times as long.
	FastElections = deviation("FastElections", "performance.raft_multiplier", `1`)
	// SlowElections makes servers patient with a slow leader, twice as long as by default.
	SlowElections = deviation("SlowElections", "performance.raft_multiplier", `10`)
	// FastWANGossip makes the WAN pool notice as fast as the LAN pool that a member has failed or is back. By default it
	// takes half a minute.
	FastWANGossip = deviation("FastWANGossip", "gossip_wan",
		`{"gossip_interval": "200ms", "probe_interval": "1s", "probe_timeout": "500ms", "suspicion_mult": 4}`)
	// ShortLag makes autopilot call a server unhealthy that is 20 entries behind the leader; by default 250.
	ShortLag = deviation("ShortLag", "autopilot.max_trailing_logs", `20`)
	// LongLag is 2,000 entries.
	LongLag = deviation("LongLag", "autopilot.max_trailing_logs", `2000`)
	// ThreeVoters makes autopilot keep three voters; by default there is no such number.
	ThreeVoters = deviation("ThreeVoters", "autopilot.min_quorum", `3`)
	// EagerLogVerifier makes the leader write an entry that verifies the Raft log every five seconds; by default it
	// does so once a minute.
	EagerLogVerifier = deviation("EagerLogVerifier", "raft_logstore.verification",
		`{"enabled": true, "interval": "5s"}`)
)

// always are the deviations of all clusters. Addresses and folders are not among them: they have no defaults of use to
// several agents on one host.
var always = []Deviation{
	deviation("JSONLogs", "log_json", `true`).Because("LogsSince reads the lines, and their levels"),
	deviation("NoUpdateCheck", "disable_update_check", `true`).Because("a test does not call HashiCorp"),
	deviation("JoinSoon", "retry_interval", `"1s"`).Because(
		"the agents of a cluster start at the same moment, and the first one finds the others not there yet; " +
			"by default it would try again after half a minute"),
	deviation("PlainGRPC", "ports.grpc", strconv.Itoa(PortGRPC)).Because(
		"port 8502, which is off by default on servers since 1.14, is probed, too; Options.Config can switch it off"),
}

// deviation is a setting, written as its path in the configuration, with a value in JSON.
func deviation(name, path, value string) Deviation {
	var config any = json.RawMessage(value)
	for _, key := range slices.Backward(strings.Split(path, ".")) {
		config = map[string]any{key: config}
	}
	return Deviation{Name: name, Setting: path + " = " + value, config: config.(map[string]any)}
}

// deviate merges the deviations of all clusters, and then these, over a configuration.
func deviate(config map[string]any, deviations []Deviation) (map[string]any, error) {
	for _, d := range slices.Concat(always, deviations) {
		if d.Reason == "" {
			return nil, fmt.Errorf("%s (%s) has no reason", d.Name, d.Setting)
		}
		own, err := plain(d.config)
		if err != nil {
			return nil, err
		}
		config = merge(config, own)
	}
	return config, nil
}

// byName are the settings that Options.Config cannot have: in them a cluster differs from Consul's defaults only by a
// Deviation. Each is the first part of a path.
var byName = []string{
	"autopilot", "check_reap_interval", "check_update_interval", "gossip_lan", "gossip_wan", "leave_on_terminate",
	"performance", "raft_logstore", "raft_snapshot_interval", "raft_snapshot_threshold", "raft_trailing_logs",
	"reconnect_timeout", "reconnect_timeout_wan", "rejoin_after_leave", "session_ttl_min", "skip_leave_on_interrupt",
}

// unnamed returns an error if a configuration has settings that need a name.
func unnamed(config map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if slices.Contains(byName, key) {
			return fmt.Errorf("%s differs from Consul's default: say why, with a Deviation", key)
		}
	}
	return nil
}
