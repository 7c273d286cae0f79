// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package status judges what was found out in one scrape, and is the view that the status page, the command check and programs share.
package status

import (
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// View is how the cluster is, by what was found out in one scrape: what the status page and the command check show. It is plain
// data, and as JSON it is public: fields are only ever added. Durations are seconds, times are RFC 3339. What could not be found
// out is left out, and Missing says why; lists are never null.
type View struct {
	// Time is when the asking began, and Seconds how long it took.
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"`
	Level   Level     `json:"level"`
	// Verdict is one sentence in plain words.
	Verdict string `json:"verdict"`
	// Problems are what is wrong, worst first.
	Problems []Problem `json:"problems"`
	// Agent is the one that was asked over HTTP.
	Agent AgentStatus `json:"agent"`
	// Quorum and Leadership are left out when no server is known.
	Quorum     *QuorumStatus     `json:"quorum,omitempty"`
	Leadership *LeadershipStatus `json:"leadership,omitempty"`
	// ConsistentRead is left out when it was not asked for, or the agent could not be asked.
	ConsistentRead *ConsistentReadStatus `json:"consistent_read,omitempty"`
	Autopilot      *AutopilotStatus      `json:"autopilot,omitempty"`
	// Servers are all that are known, by name.
	Servers []ServerStatus `json:"servers"`
	// Members are the Serf pools that could be read: lan, and from a server wan.
	Members []PoolStatus `json:"members"`
	// Catalog is left out when it was not asked for.
	Catalog *CatalogStatus `json:"catalog,omitempty"`
	// Missing is what could not be found out.
	Missing []Missing `json:"missing"`
}

// Level is how the cluster is, in a word.
type Level string

// The levels.
const (
	LevelHealthy Level = "healthy"
	// LevelDegraded means that the cluster serves, and that there is a problem other than for information.
	LevelDegraded Level = "degraded"
	// LevelCritical means that the cluster does not serve as it should: the quorum is lost, there is not exactly one leader, the
	// servers disagree, or consistent reads fail.
	LevelCritical Level = "critical"
	// LevelUnknown means that no server is known, or that too many could not be asked to tell whether there is a quorum.
	LevelUnknown Level = "unknown"
)

// Severity is how bad a problem is, in the words of the alerts.
type Severity string

// The severities, worst first.
const (
	SeverityCritical Severity = "critical"
	SeverityWarning  Severity = "warning"
	SeverityInfo     Severity = "info"
)

// Problem is something wrong. What follows from another problem is no problem of its own.
type Problem struct {
	Severity Severity `json:"severity"`
	// Alert is the name of the alert about it, which fires when the problem lasts; it has a runbook.
	Alert string `json:"alert"`
	// Server is the name of the server, or of the agent, that has the problem; left out when it is not about one.
	Server string `json:"server,omitempty"`
	// Text is a sentence. Names in it are as Consul has them, whatever characters they are made of.
	Text string `json:"text"`
	// Runbook is the address of the page about the alert.
	Runbook string `json:"runbook"`
}

// AgentStatus is the agent whose HTTP API was asked.
type AgentStatus struct {
	// Address is the URL of its HTTP API, or of its socket.
	Address string `json:"address"`
	// Up is whether the HTTP API answered; left out when it could not be asked, for a reason that lies with this program.
	Up *bool `json:"up,omitempty"`
	// Name, Datacenter and IsServer are what it last said of itself; left out when it never did.
	Name       string `json:"name,omitempty"`
	Datacenter string `json:"datacenter,omitempty"`
	IsServer   *bool  `json:"is_server,omitempty"`
	// Ports are those of an agent that is none of the known servers.
	Ports []PortStatus `json:"ports"`
}

// QuorumStatus is whether enough voters answer for Raft to commit anything.
type QuorumStatus struct {
	// Voters have a vote, Needed of them must agree, and Reachable of them answer on their own port 8300.
	Voters    int `json:"voters"`
	Needed    int `json:"needed"`
	Reachable int `json:"reachable"`
	// Unknown of them could not be asked: whether they answer is not known.
	Unknown int `json:"unknown"`
	// Following are the reachable voters but those that know of no leader, or of another one than the one that there is.
	Following int `json:"following"`
	// Margin is how many more may fail; negative when the quorum is lost. It is left out while a voter is unknown, unless the quorum
	// is lost whatever that one does.
	Margin *int `json:"margin,omitempty"`
}

// LeadershipStatus is who leads, by the account of each server that answered.
type LeadershipStatus struct {
	// Leaders are the names of the servers that call themselves leader: one when all is well.
	Leaders []string `json:"leaders"`
	// Since is when the one leader came to lead; left out when it did before this program began to watch.
	Since *time.Time `json:"since,omitempty"`
	// Unknown is the number of voters that could not be asked; one of them may lead.
	Unknown int `json:"unknown"`
	// Reported are those that any server calls leader, by name where the address is that of a known server.
	Reported []string `json:"reported"`
	// WithoutLeader is the number of servers that answered and know of no leader.
	WithoutLeader int `json:"without_leader"`
	// Configurations is the number of distinct Raft configurations that servers have: 1 is right.
	Configurations int `json:"configurations"`
	// UnknownPeers is the number of Raft peers that match no member of Serf; left out when the members are not known.
	UnknownPeers *int `json:"unknown_peers,omitempty"`
}

// ConsistentReadStatus is how a linearizable read went.
type ConsistentReadStatus struct {
	OK bool `json:"ok"`
	// Seconds is how long it took; left out unless OK.
	Seconds *float64 `json:"seconds,omitempty"`
}

// AutopilotStatus is what autopilot makes of the servers.
type AutopilotStatus struct {
	Healthy          bool `json:"healthy"`
	FailureTolerance int  `json:"failure_tolerance"`
}

// ServerStatus is what is known about one server.
type ServerStatus struct {
	// Name is the node name, or the Raft address of a peer that no Serf member matches.
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
	// Address is that of port 8300, which is the server's address in Raft.
	Address string `json:"address"`
	Version string `json:"version,omitempty"`
	Voter   bool   `json:"voter"`
	// Serf is the state of the Serf member: alive, leaving, left, failed, or none without such a member.
	Serf string `json:"serf"`
	// RaftState is leader, follower, candidate, shutdown or unknown, by its HTTP API; without that it is what its port 8300 tells.
	RaftState cluster.RaftState `json:"raft_state,omitempty"`
	// HasLeader is whether the server knows of a leader, and Leader whom: the name, or an address that no known server has.
	HasLeader *bool  `json:"has_leader,omitempty"`
	Leader    string `json:"leader,omitempty"`
	// Term is the current one by its HTTP API, and without that the term of its last log entry.
	Term         *uint64 `json:"term,omitempty"`
	LastLogIndex *uint64 `json:"last_log_index,omitempty"`
	// LogLag is how many entries its log is behind the longest one.
	LogLag *uint64 `json:"log_lag,omitempty"`
	// LastContactSeconds is how long ago it heard of the leader: 0 on the leader, left out when it never did.
	LastContactSeconds *float64 `json:"last_contact_seconds,omitempty"`
	AutopilotHealthy   *bool    `json:"autopilot_healthy,omitempty"`
	// Ports are those that were probed, in the order of their default numbers. Port 8300 is always one of them.
	Ports []PortStatus `json:"ports"`
}

// PortStatus is how the probe of a port went.
type PortStatus struct {
	Port      int              `json:"port"`
	Protocol  cluster.Protocol `json:"protocol"`
	Transport string           `json:"transport"`
	// State is up, accepts, hangs, down, unknown or not asked.
	State PortState `json:"state"`
	// Up is whether it answered in its own protocol; left out when nothing could be asked.
	Up *bool `json:"up,omitempty"`
	// Verified is false where up means no more than that the port accepts connections.
	Verified bool `json:"verified"`
	// Hung is whether the port accepts connections and then does not answer in time.
	Hung bool `json:"hung,omitempty"`
	// Seconds is how long the probe took.
	Seconds float64 `json:"seconds"`
	// Reason is one of the words of consul_port_probe_failures_total, or without Up of consul_port_probe_skipped, and Error has the
	// details; left out when there is no failure.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
	// Note says why nothing is asked of the port; left out when it is asked.
	Note string `json:"note,omitempty"`
	// CertificateExpiry is when the first of the certificates expires that the port showed; left out without TLS.
	CertificateExpiry *time.Time `json:"certificate_expiry,omitempty"`
	// CertificateLifetime is for how many seconds that certificate is good in all.
	CertificateLifetime float64 `json:"certificate_lifetime_seconds,omitempty"`
}

// PoolStatus is one Serf pool, as the agent sees it.
type PoolStatus struct {
	// Pool is lan or wan.
	Pool  string `json:"pool"`
	Count int    `json:"count"`
	// ByStatus counts the members that are alive, leaving, left and failed.
	ByStatus map[string]int `json:"by_status"`
	// NotAlive are the members in another state, failed ones first, and NotAliveOmitted how many more there are.
	NotAlive        []MemberEntry `json:"not_alive"`
	NotAliveOmitted int           `json:"not_alive_omitted,omitempty"`
}

// MemberEntry is a member of a Serf pool.
type MemberEntry struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// IsServer is false for client agents.
	IsServer bool `json:"is_server"`
}

// CatalogStatus are the totals of what is registered with Consul.
type CatalogStatus struct {
	// Summary is whether all counts are those of Consul's own summary, because the catalog itself could not be read: see CatalogOverview.
	Summary  bool `json:"summary,omitempty"`
	Nodes    int  `json:"nodes"`
	Services int  `json:"services"`
	// Instances counts the service instances that are passing, warning, critical, in maintenance and, if there are, of unknown state.
	Instances map[string]int `json:"instances"`
	// Failing are the services with instances that are critical, worst first, and FailingOmitted how many more there are; the servers'
	// own service is none of them. Down of them have no instance that is passing or warning.
	Failing        []ServiceStatus `json:"failing"`
	FailingOmitted int             `json:"failing_omitted,omitempty"`
	Down           int             `json:"down"`
}

// ServiceStatus counts the instances of one service by their state.
type ServiceStatus struct {
	Name        string `json:"name"`
	Passing     int    `json:"passing"`
	Warning     int    `json:"warning"`
	Critical    int    `json:"critical"`
	Maintenance int    `json:"maintenance"`
}

// Missing is something that could not be found out.
type Missing struct {
	// What is one of: agent, members, WAN members, Raft configuration, servers, ports, autopilot, consistent read, catalog.
	What   string `json:"what"`
	Reason string `json:"reason"`
	// Denied is whether the token has too few rights.
	Denied bool `json:"denied"`
	// Refused is whether Consul does not tell, for that reason or because the version or edition does not have it.
	Refused bool `json:"-"`
	// Own is whether it could not be asked for, for a reason that lies with this program.
	Own bool `json:"-"`
}
