// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import "fmt"

// Panels about what is known, what is not, and what is remembered.

var (
	quorumColors = map[string]string{"held": green, "lost": red, "unknown": gray}
	writesColors = map[string]string{"committing": green, "stalled": red, "unknown": gray}
	votersColors = map[string]string{"answering": green, "lost": red, "unknown": gray}
)

// voterMargin is how many more voters can fail, where that is known; else which state the quorum is in.
const (
	quorumHeld    = "1000"
	quorumUnknown = "2000"
)

func voterMargin() string {
	state := func(state string) string {
		return `max by (CLUSTER) (consul_cluster_quorum_state{SEL, state="` + state + `"})`
	}
	return orFor(orFor(shownMargin(),
		quorumHeld+" * ("+state("held")+" == 1)"), quorumUnknown+" * ("+state("unknown")+" == 1)")
}

// enoughForFew is the margin of a cluster that has none and is not expected to: it has one or two voters.
const enoughForFew = 0.001

// shownMargin is how many more voters can fail.
func shownMargin() string {
	const margin = "max by (CLUSTER) (consul_cluster_failure_margin{SEL})"
	few := fmt.Sprintf("(%s == 0 and on (CLUSTER) max by (CLUSTER) (consul_cluster_expected_voters{SEL}) < 3) + %v",
		margin, enoughForFew)
	return orFor(few, margin)
}

func quorumOverTime(width, height int) panel {
	return panel{
		title: "Quorum, as exporters see it", width: width, height: height,
		alerts: "ConsulQuorumLost ConsulQuorumUnknown ConsulExporterCutOff ConsulClustersMixed",
		band:   true, colors: quorumColors,
		about: "How many exporters see that there is a leader with a quorum (held), that there is none (lost), or " +
			"cannot tell (unknown). Where one sees it held, the others are cut off.",
		expr: "sum by (state) (consul_cluster_quorum_state{SEL})",
	}
}

func votersByState(width, height int) panel {
	return panel{
		title: "Voters by what is known of them", width: width, height: height,
		alerts: "ConsulExporterBlind ConsulExporterCutOff", band: true, colors: votersColors,
		about: "Voters that answer on port 8300, that are lost, and of which nothing is known because they turned the " +
			"exporter away or are out of its sight. Unknown is not lost. Of several exporters, what any of them sees.",
		expr: "sum by (state) (max by (CLUSTER, state) (consul_cluster_voters_state{SEL}))",
	}
}

func writesOverTime(width, height int) panel {
	return panel{
		title: "Writes, as exporters see them", width: width, height: height, alerts: "ConsulWritesStalled",
		band: true, colors: writesColors,
		about: "How many exporters see writes commit. Stalled: the leader's log grows while its commit index stands " +
			"still, so every write times out although reads succeed. Mostly the disks of followers are stuck.",
		expr: "sum by (state) (consul_cluster_writes_state{SEL})",
	}
}

func votersMissing(width, height int) panel {
	return panel{
		title: "Voters expected and missing", width: width, height: height,
		alerts: "ConsulVotersMissing ConsulServerWithoutVote", stepped: true, colors: map[string]string{"missing": red},
		about: "How many voters there should be, and how many of them are missing, until they are back, are replaced, " +
			"or are dismissed. Consul itself forgets a server that autopilot removes.",
		queries: []query{
			{"max by (CLUSTER) (consul_cluster_expected_voters{SEL})", "expected"},
			{"max by (CLUSTER) (consul_cluster_missing_voters{SEL})", "missing"},
		},
		overrides: []object{limitLine("expected", blue)},
	}
}

// missingServersTable lists the servers that the exporters remember and Consul does not have any more.
func missingServersTable(width, height int) panel {
	return panel{
		kind: table, title: "Servers that are gone", width: width, height: height, unit: "s", whole: true,
		alerts: "ConsulVotersMissing ConsulServerDown ConsulServerHung",
		about: "Servers that were there before, with how they went and how long ago: left (in order), removed, or gone " +
			"(nobody saw how). They go on to be probed.",
		expr: orElse("time() - min by (CLUSTER, server, id, how) (consul_server_missing_since_timestamp_seconds{SEL})",
			label(label("0 * count(consul_cluster_voters{SEL})", "server", "none"), "how", "–")),
		transformations: []object{sorted("Value", true), columns("server", "how", "id=Node ID", "Value=Since")},
	}
}

// turnedAwayTable lists the ports that respond and reject the exporter.
func turnedAwayTable(width, height int) panel {
	return panel{
		kind: table, title: "Ports that turn the exporter away", width: width, height: height,
		alerts: "ConsulExporterBlind ConsulQuorumUnknown",
		about: "Ports that respond and reject the exporter, with the reason: its certificate, name, key, rights, too " +
			"many connections, or another protocol. That says nothing about Consul, and the runbook says what to set.",
		expr: orElse(
			"max by (CLUSTER, instance, server, port, protocol, transport, reason) (consul_port_turned_away{SEL})",
			label(label("0 * count(consul_port_up{SEL})", "server", "none"), "reason", "–"),
		),
		transformations: []object{
			sorted("Value", true),
			columns("server", "port", "protocol", "transport", "reason", "instance=Exporter", "Value=Turned away"),
		},
		overrides: []object{override("Turned away", colored(warningFrom(1)), cell)},
	}
}
