// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package status judges what was found out in one scrape, and is the view that the status page, the command check and
// programs share.
package status

import (
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// View is the state of the cluster in one scrape: what the status page and the command check show. It is plain data,
// and as JSON it is public: fields are only ever added. Durations are seconds, times are RFC 3339. Unknown values are
// left out, and what is missing says why; lists are never null.
//
// The comments on its fields, and on those of all that is in it, are the descriptions in docs/status.schema.json.
type View struct {
	// Time is when the scrape began.
	Time time.Time `json:"time"`
	// Seconds is how long the scrape took, in seconds.
	Seconds float64 `json:"seconds"`
	// Level is the state of Consul itself; what is registered with it has another one.
	Level Level `json:"level"`
	// Verdict is one sentence in plain words about Consul itself.
	Verdict string `json:"verdict"`
	// Remedy says which flag or permission to set, if the exporter lacks one; left out otherwise.
	Remedy string `json:"remedy,omitempty"`
	// Problems are those of Consul itself, worst first.
	Problems []Problem `json:"problems"`
	// Services is the health of what is registered with Consul; left out of a view of Consul alone.
	Services *ServicesStatus `json:"services,omitempty"`
	// Agent is the agent that was queried.
	Agent AgentStatus `json:"agent"`
	// Quorum is whether a majority of the voters follows one leader; left out when no server is known.
	Quorum *QuorumStatus `json:"quorum,omitempty"`
	// Leadership is who leads; left out when no server is known.
	Leadership *LeadershipStatus `json:"leadership,omitempty"`
	// Writes is whether writes commit; left out when no server is known.
	Writes *verdict.Writes `json:"writes,omitempty"`
	// ConsistentRead is a linearizable read; left out when there was none, or the agent could not be queried.
	ConsistentRead *ConsistentReadStatus `json:"consistent_read,omitempty"`
	// Autopilot is how autopilot judges the servers; left out when that is not known.
	Autopilot *AutopilotStatus `json:"autopilot,omitempty"`
	// LastChange is the latest change that is remembered; left out when there is none.
	LastChange *Event `json:"last_change,omitempty"`
	// Servers are all that are known, by name.
	Servers []ServerStatus `json:"servers"`
	// Members are the Serf pools that could be read: lan, and from a server also wan.
	Members []verdict.Pool `json:"members"`
	// Catalog has the totals of what is registered with Consul; left out when it was not read.
	Catalog *verdict.Catalog `json:"catalog,omitempty"`
	// Memory says that servers that went before cannot be known; left out when they are.
	Memory string `json:"memory,omitempty"`
	// Missing lists what could not be read, and why.
	Missing []Missing `json:"missing"`
}

// Level is the state of the cluster, in a word.
type Level string

// The levels.
const (
	LevelHealthy Level = "healthy"
	// LevelDegraded means that the cluster serves, and that there is a problem that is not only information.
	LevelDegraded Level = "degraded"
	// LevelCritical means that the cluster does not serve as it should: the quorum is lost, there is not exactly one
	// leader, the servers disagree, writes do not commit, or consistent reads fail.
	LevelCritical Level = "critical"
	// LevelUnknown means that no server is known, or that there is no telling whether there is a quorum.
	LevelUnknown Level = "unknown"
)

// Tone is the level in whose color a level is shown: with a critical problem it is LevelCritical, so that both have one
// color.
func Tone(level Level, problems []Problem) Level {
	if slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Critical }) {
		return LevelCritical
	}
	return level
}

// Event is a change of who leads, or of who is in the cluster.
type Event struct {
	// Time is when it happened.
	Time time.Time `json:"time"`
	// Text is a clause that continues after a time, such as "server-1 was elected leader".
	Text string `json:"text"`
}

// Severity is how bad a problem is, in the words of the alerts.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Problem is something wrong that does not follow from another problem.
type Problem struct {
	// Severity is that of the alert.
	Severity Severity `json:"severity"`
	// Alert is the name of the alert that fires when the problem lasts.
	Alert string `json:"alert"`
	// Server is the name of the server, or of the agent, that has the problem; left out when it is not about one.
	Server string `json:"server,omitempty"`
	// Text is a sentence. Names in it are as Consul has them, whatever characters they are made of.
	Text string `json:"text"`
	// Runbook is the address of the page about the alert.
	Runbook string `json:"runbook"`
}

// AgentStatus is the agent whose HTTP API was queried: of several that are configured, the one in use.
type AgentStatus struct {
	// Address is the URL of its HTTP API, or of its socket.
	Address string `json:"address"`
	// Up is whether the HTTP API answered; left out when the exporter itself is the reason why it could not be queried.
	Up *bool `json:"up,omitempty"`
	// Name is the node name that it last reported; left out when it never did.
	Name string `json:"name,omitempty"`
	// Datacenter is the one that it last reported; left out when it never did.
	Datacenter string `json:"datacenter,omitempty"`
	// IsServer is whether it is a server, and not a client agent; left out when that is not known.
	IsServer *bool `json:"is_server,omitempty"`
	// Ports are those of an agent that is not one of the known servers.
	Ports []PortStatus `json:"ports"`
	// Agents are the configured agents that were queried; left out when only one is configured.
	Agents []ConfiguredAgent `json:"agents,omitempty"`
}

// ConfiguredAgent is one of several configured agents.
type ConfiguredAgent struct {
	// Address is the URL of its HTTP API, or of its socket.
	Address string `json:"address"`
	// Used is whether the rest comes from this agent.
	Used bool `json:"used"`
	// Up is whether it answered usefully.
	Up bool `json:"up"`
	// Error is why it did not; left out when it did.
	Error string `json:"error,omitempty"`
}

// QuorumStatus is the quorum, and how far it is from being lost.
type QuorumStatus struct {
	verdict.Quorum

	// Margin is how many more voters can fail: negative when the quorum is lost, and left out when that is unknown.
	Margin *int `json:"margin,omitempty"`
}

// LeadershipStatus is who leads, as each server that answered reports it.
type LeadershipStatus struct {
	// Known is false while no leader is seen and there may be one: a voter is unknown, or others follow a server that does
	// not answer here.
	Known bool `json:"known"`
	// Leaders are the names of the servers that call themselves leader: one when all is well.
	Leaders []string `json:"leaders"`
	// Since is when the one leader was elected; left out when that was before the exporter began to watch.
	Since *time.Time `json:"since,omitempty"`
	// Unknown is the number of voters of which nothing is known; one of them may lead.
	Unknown int `json:"unknown"`
	// Reported are those that any server calls leader.
	Reported []string `json:"reported"`
	// WithoutLeader is the number of servers that know of no leader.
	WithoutLeader int `json:"without_leader"`
	// Configurations is the number of distinct Raft configurations that servers have: 1 is right.
	Configurations int `json:"configurations"`
	// UnknownPeers is the number of Raft peers that match no member of Serf; left out when the members are not known.
	UnknownPeers *int `json:"unknown_peers,omitempty"`
}

// ConsistentReadStatus is whether a linearizable read succeeded, and how long it took.
type ConsistentReadStatus struct {
	// OK is whether it succeeded.
	OK bool `json:"ok"`
	// Seconds is how long it took, in seconds; left out when it failed.
	Seconds *float64 `json:"seconds,omitempty"`
}

// AutopilotStatus is how autopilot judges the servers.
type AutopilotStatus struct {
	// Healthy is whether it calls all servers healthy.
	Healthy bool `json:"healthy"`
	// FailureTolerance is how many voters can fail, as autopilot counts.
	FailureTolerance int `json:"failure_tolerance"`
}

// ServerStatus has all that is known about one server.
type ServerStatus struct {
	// Name is the node name, or the address in Raft of a peer that no Serf member matches.
	Name string `json:"name"`
	// ID is the node ID; left out when it is not known.
	ID string `json:"id,omitempty"`
	// Address is that of port 8300, which is the server's address in Raft.
	Address string `json:"address"`
	// Version is that of Consul; left out when it is not known.
	Version string `json:"version,omitempty"`
	// Voter is whether it has a vote.
	Voter bool `json:"voter"`
	// Missing says that Consul no longer names the server; left out for one that it names.
	Missing *MissingStatus `json:"missing,omitempty"`
	// Serf is the state of the Serf member: alive, leaving, left, failed, or none without such a member.
	Serf string `json:"serf"`
	// RaftState comes from the server's HTTP API. Without it, port 8300 tells whether the server leads or follows; left
	// out when neither answers.
	RaftState cluster.RaftState `json:"raft_state,omitempty"`
	// HasLeader is whether it knows of a leader; left out when it did not report that.
	HasLeader *bool `json:"has_leader,omitempty"`
	// Leader is the name of the leader that the server reports, or an address that no known server has.
	Leader string `json:"leader,omitempty"`
	// Term comes from the server's HTTP API. Without it, it is the term of the last log entry; left out when it is not
	// known.
	Term *uint64 `json:"term,omitempty"`
	// LastLogIndex is the index of the last entry in its log; left out when it is not known.
	LastLogIndex *uint64 `json:"last_log_index,omitempty"`
	// LogLag is how many entries its log is behind the longest one; left out when that is not known.
	LogLag *uint64 `json:"log_lag,omitempty"`
	// LastContactSeconds is how long ago it heard from the leader, in seconds: 0 on the leader, and left out when it never
	// did.
	LastContactSeconds *float64 `json:"last_contact_seconds,omitempty"`
	// AutopilotHealthy is whether autopilot calls it healthy; left out when that is not known.
	AutopilotHealthy *bool `json:"autopilot_healthy,omitempty"`
	// Ports are in the order of their default numbers. Port 8300 is always one of them.
	Ports []PortStatus `json:"ports"`
}

// PortStatus is the result of probing a port.
type PortStatus struct {
	// Port is the number; 0 if it is unknown.
	Port int `json:"port"`
	// Protocol is the one that is spoken there.
	Protocol cluster.Protocol `json:"protocol"`
	// Transport is tcp or udp.
	Transport string `json:"transport"`
	// State is the result in a word.
	State verdict.PortState `json:"state"`
	// Up is whether the port answered in its own protocol; left out when it could not be probed.
	Up *bool `json:"up,omitempty"`
	// Verified is false where being up means no more than that the port accepts connections.
	Verified bool `json:"verified"`
	// Hung is whether the port accepts connections and then does not answer in time.
	Hung bool `json:"hung,omitempty"`
	// Seconds is how long the probe took, in seconds; 0 if there was none.
	Seconds float64 `json:"seconds"`
	// Outcome is how the probe ended; left out if there was none on purpose.
	Outcome probe.Outcome `json:"outcome,omitempty"`
	// Reason is a word for why the probe failed, the label reason of consul_port_probe_failures_total, or for why there
	// was none, that of consul_port_probe_skipped; left out otherwise.
	Reason string `json:"reason,omitempty"`
	// Error has the details of the failure; left out when there is none.
	Error string `json:"error,omitempty"`
	// Note says why the port is not probed on purpose, or only connected to.
	Note string `json:"note,omitempty"`
	// CertificateExpiry is when the first of the port's certificates expires; left out without TLS.
	CertificateExpiry *time.Time `json:"certificate_expiry,omitempty"`
	// CertificateLifetime is for how long that certificate is valid in all, in seconds; left out without TLS.
	CertificateLifetime float64 `json:"certificate_lifetime_seconds,omitempty"`
}

// Missing is something that could not be read.
type Missing struct {
	// What is one of: agent, members, WAN members, Raft configuration, servers, ports, autopilot, consistent read,
	// catalog.
	What string `json:"what"`
	// Reason is why, with the words of the error.
	Reason string `json:"reason"`
	// Denied is whether the token has too few rights.
	Denied bool `json:"denied"`
	// Blocked is whether the agent's configuration forbids the question, whatever the token.
	Blocked bool `json:"-"`
	// Refused is whether Consul denies it, or does not have it in this version or edition.
	Refused bool `json:"-"`
	// Own is whether the reason lies with this program.
	Own bool `json:"-"`
	// Enterprise is whether only Consul Enterprise has what the flags ask for.
	Enterprise bool `json:"-"`
}
