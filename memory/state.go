// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// The beginning of each state, which tells it from the JSON of others.
const (
	stateFormat  = "consul_cluster_exporter state"
	stateVersion = 1
)

// maxStateBytes bounds a state, in a file or from an exporter.
const maxStateBytes = 1 << 20

// maxAnswered bounds the ports that are remembered: those of all servers.
const maxAnswered = 10 * MaxServers

// state is what survives a restart, as JSON. It has no secrets. Seconds are counted since the memory began, see the
// package.
type state struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// Saved is when it was written, for people.
	Saved   time.Time `json:"saved"`
	Seconds float64   `json:"seconds"`
	// Voters is the number that was seen last, and Expected the most that was held for an hour.
	Voters   int `json:"voters"`
	Expected int `json:"expected_voters"`
	// BootstrapExpect and MinQuorum are Consul's settings; 0 if they are unknown.
	BootstrapExpect int `json:"bootstrap_expect,omitempty"`
	MinQuorum       int `json:"min_quorum,omitempty"`
	// HeldSeconds is for how long there have been at least 1, 2, 3, ... voters, with the quorum held.
	HeldSeconds []float64     `json:"held_seconds"`
	Leader      *leaderState  `json:"leader,omitempty"`
	Log         *logState     `json:"log,omitempty"`
	Servers     []serverState `json:"servers"`
	// Answered are addresses of ports at which something has answered.
	Answered []string `json:"answered,omitempty"`
	// Peerings are by their own IDs.
	Peerings map[string]peeringState `json:"peerings,omitempty"`
}

// leaderState is the latest single leader, by node ID, and the term of its last log entry.
type leaderState struct {
	ID   string `json:"id"`
	Term uint64 `json:"term"`
	// Since is zero for a leader that led when the watch began.
	Since time.Time `json:"since,omitzero"`
}

func (l leaderState) is(other *leaderState) bool {
	return other != nil && l.ID == other.ID && l.Term == other.Term
}

// serverState is a server that was seen.
type serverState struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Host        string `json:"host"`
	RPCAddress  string `json:"rpc_address"`
	Datacenter  string `json:"datacenter,omitempty"`
	Version     string `json:"version,omitempty"`
	LANPort     int    `json:"lan_port,omitempty"`
	WANPort     int    `json:"wan_port,omitempty"`
	GRPCPort    int    `json:"grpc_port,omitempty"`
	GRPCTLSPort int    `json:"grpc_tls_port,omitempty"`
	UsesTLS     bool   `json:"uses_tls,omitempty"`
	// Voter is whether it had a vote, and VoterAt since when; nil if it had it before the memory began.
	Voter   bool     `json:"voter"`
	VoterAt *float64 `json:"voter_at_seconds,omitempty"`
	// VoteLostAt is when it was first seen without the vote that it had; nil if it never was.
	VoteLostAt *float64 `json:"vote_lost_at_seconds,omitempty"`
	// Replaces is whether it has taken the place of a server that went, or its own again.
	Replaces   bool      `json:"replaces,omitempty"`
	KnownSince time.Time `json:"known_since"`
	LastSeen   time.Time `json:"last_seen"`
	// Last is its last state in Serf: "leaving" and "failed" stay until it is alive again, and one whose port 8300 no
	// longer answers counts as failed.
	Last string `json:"last"`
	// Missing is nil for a server that Consul names.
	Missing *absenceState `json:"missing,omitempty"`
}

// absenceState is how and since when a server is missing.
type absenceState struct {
	How   cluster.Departure `json:"how"`
	Since time.Time         `json:"since"`
	At    float64           `json:"at_seconds"`
}

// see notes a server that Consul names, and reports whether anything but the time is new. A vote that it did not have
// in an earlier scrape began now.
func (s *serverState) see(now cluster.Server, e *inputs.Evidence, seconds float64, watched bool) bool {
	before := *s
	s.Name, s.Host, s.RPCAddress, s.Datacenter = now.Name, now.Host, now.RPCAddress, now.Datacenter
	s.LANPort, s.WANPort, s.GRPCPort, s.GRPCTLSPort = now.LANPort, now.WANPort, now.GRPCPort, now.GRPCTLSPort
	s.Version, s.UsesTLS, s.LastSeen, s.Missing = now.Version, now.UsesTLS, e.At.UTC(), nil
	if now.Status == cluster.StatusNone { // The agent knows only its address: the rest is as before.
		s.Datacenter, s.LANPort, s.WANPort, s.GRPCPort = before.Datacenter, before.LANPort, before.WANPort, before.GRPCPort
		s.GRPCTLSPort, s.Version, s.UsesTLS = before.GRPCTLSPort, before.Version, before.UsesTLS
		if before.Name != "" {
			s.Name = before.Name
		}
	}
	s.Replaces = before.Replaces || before.Missing != nil // One that returns fills its own gap.
	if e.Topology.RaftKnown {
		if now.Voter && watched && (!before.Voter || before.Missing != nil) {
			s.VoterAt = &seconds
		}
		if before.Voter && !now.Voter {
			s.VoteLostAt = &seconds
		}
		s.Voter = now.Voter
	}
	s.Last = s.lastState(now, e.Reports)
	before.LastSeen, before.VoterAt, before.VoteLostAt = s.LastSeen, s.VoterAt, s.VoteLostAt
	return before != *s
}

// hadVote reports whether a server that goes now takes a vote with it. Who leaves gives it up a moment before.
func (s *serverState) hadVote(seconds float64) bool {
	return s.Voter || (s.VoteLostAt != nil && seconds-*s.VoteLostAt <= longestGap.Seconds())
}

// deadOutcomes are those of a port 8300 that is no longer served.
var deadOutcomes = []probe.Outcome{probe.OutcomeSilent, probe.OutcomeRefused, probe.OutcomeUnreachable}

func (s *serverState) lastState(now cluster.Server, reports []cluster.Report) string {
	i := slices.IndexFunc(reports, func(r cluster.Report) bool { return r.Server.ID == now.ID })
	lost := i >= 0 && slices.Contains(deadOutcomes, reports[i].RPC.Outcome())
	left := s.Last == cluster.StatusLeaving.String() && now.Status != cluster.StatusAlive
	forced := s.Last == cluster.StatusFailed.String() && now.Status == cluster.StatusLeaving && lost
	switch {
	case forced: // It was dead before (consul force-leave).
		return cluster.StatusFailed.String()
	case now.Status == cluster.StatusLeaving || left:
		return cluster.StatusLeaving.String()
	case now.Status == cluster.StatusFailed || lost:
		return cluster.StatusFailed.String()
	default:
		return cluster.StatusAlive.String()
	}
}

// missingAt is when it was first missing; before everything else for one that is not.
func (s *serverState) missingAt() float64 {
	if s.Missing == nil {
		return -1
	}
	return s.Missing.At
}

// server returns it for the topology.
func (s *serverState) server(seconds float64) cluster.Server {
	server := cluster.Server{
		ID: s.ID, Name: s.Name, Host: s.Host, RPCAddress: s.RPCAddress, Datacenter: s.Datacenter, Version: s.Version,
		LANPort: s.LANPort, WANPort: s.WANPort, GRPCPort: s.GRPCPort, GRPCTLSPort: s.GRPCTLSPort, UsesTLS: s.UsesTLS,
		Voter: s.hadVote(seconds), Status: cluster.StatusAlive,
	}
	for _, status := range cluster.MemberStatuses() {
		if status.String() == s.Last {
			server.Status = status
		}
	}
	if s.Missing != nil {
		server.Voter = s.Voter
		server.Absence = &cluster.Absence{How: s.Missing.How, Since: s.Missing.Since, Voter: s.Voter}
	}
	return server
}

// encode returns the state as JSON.
func (s *state) encode(now time.Time) ([]byte, error) {
	s.Format, s.Version, s.Saved = stateFormat, stateVersion, now.UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	if len(text) >= maxStateBytes {
		return nil, fmt.Errorf("the state is larger than %d bytes", maxStateBytes)
	}
	return append(text, '\n'), nil
}

// decode reads a state and checks it.
func decode(text []byte) (state, error) {
	var s state
	if len(text) > maxStateBytes {
		return s, fmt.Errorf("it is larger than %d bytes", maxStateBytes)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("it is not a state of this program: %w", err)
	}
	switch {
	case s.Format != stateFormat:
		return state{}, errors.New("it is not a state of this program")
	case s.Version != stateVersion:
		return state{}, fmt.Errorf("it has version %d, and this program knows version %d", s.Version, stateVersion)
	case len(s.Servers) > MaxServers || len(s.HeldSeconds) > MaxServers || len(s.Peerings) > maxPeerings,
		len(s.Answered) > maxAnswered:
		return state{}, errors.New("it has more servers than a cluster can have")
	}
	if s.Seconds < 0 || s.Voters < 0 || s.Expected < 0 || s.Expected > MaxServers {
		return state{}, errors.New("it has numbers that no cluster can have")
	}
	ids := make(map[string]bool)
	for i := range s.Servers {
		k := &s.Servers[i]
		if err := k.check(s.Seconds); err != nil {
			return state{}, fmt.Errorf("it has a server (%q) %w", k.ID, err)
		}
		if ids[k.ID] {
			return state{}, fmt.Errorf("it has a server (%q) twice", k.ID)
		}
		ids[k.ID] = true
	}
	return s, nil
}

// check returns what is wrong with a server in a state of this time.
func (s *serverState) check(seconds float64) error {
	past := func(at *float64) bool { return at == nil || (*at >= 0 && *at <= seconds) }
	ways := []cluster.Departure{cluster.DepartureLeft, cluster.DepartureRemoved, cluster.DepartureGone}
	switch {
	case !strings.Contains(s.RPCAddress, ":") || s.ID == "" || s.Name == "":
		return errors.New("without a name, an ID or an address")
	case !past(s.VoterAt) || !past(s.VoteLostAt) || (s.Missing != nil && !past(&s.Missing.At)):
		return errors.New("with a time that has not come yet")
	case s.Missing != nil && !slices.Contains(ways, s.Missing.How):
		return errors.New("that is missing in an unknown way")
	default:
		return nil
	}
}
