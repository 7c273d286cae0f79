// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// selfOf is what the agent of this name answers about itself.
func selfOf(name string) http.HandlerFunc {
	return answer(200, fmt.Sprintf(`{"Config":{"NodeName":%q,"NodeID":"id-%[1]s","Server":true},
		"DebugConfig":{"ACLsEnabled":false}}`, name))
}

// agentNamed is an agent that answers everything.
func agentNamed(name string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		endpointSelf.Path: selfOf(name), endpointConsistent.Path: answer(200, "[]"),
	}
}

// answeringAll is an agent that gives this answer to everything.
func answeringAll(handler http.HandlerFunc) map[string]http.HandlerFunc {
	handlers := make(map[string]http.HandlerFunc)
	for _, path := range []string{
		endpointSelf.Path, endpointMembers.Path, endpointStatusLeader.Path, endpointConsistent.Path, endpointAuthorize.Path,
	} {
		handlers[path] = handler
	}
	return handlers
}

// abort is a handler that closes the connection.
func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// severalAgents is a cluster with these agents.
func severalAgents(t *testing.T, timeout time.Duration, agents ...map[string]http.HandlerFunc) *Cluster {
	t.Helper()
	opts := Options{Client: consul.Options{Timeout: timeout}}
	for _, handlers := range agents[1:] {
		opts.OtherAgents = append(opts.OtherAgents, fakeAgent(t, handlers))
	}
	return newTestCluster(t, opts, agents[0])
}

// states says of each agent that was asked whether it is used, and whether it was of no use.
func states(s *Snapshot) string {
	var all []string
	addresses := s.cluster.opts.addresses()
	for _, a := range s.Agents() {
		text := fmt.Sprint(slices.Index(addresses, a.Address) + 1)
		if a.Used {
			text += " used"
		}
		if a.Err != nil {
			text += " fails"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// The first agent that answers usefully is used for all of a scrape; those that are not needed are not asked.
func TestAgents(t *testing.T) {
	t.Parallel()
	denied := agentNamed("b")
	denied[endpointSelf.Path] = answer(403, "Permission denied")
	for _, tc := range []struct {
		name   string
		first  map[string]http.HandlerFunc
		second map[string]http.HandlerFunc
		states string
		up     bool
		agent  string // Who says so.
	}{
		{"well", agentNamed("a"), agentNamed("b"), "1 used", true, "a"},
		{"may not tell about itself", denied, agentNamed("b"), "1 used", true, ""},
		{"down", answeringAll(abort), agentNamed("b"), "1 fails, 2 used", true, "b"},
		{"too many connections", answeringAll(answer(429, "")), agentNamed("b"), "1 fails, 2 used", true, "b"},
		{
			"does not know the token", answeringAll(answer(403, "ACL not found")), agentNamed("b"),
			"1 fails, 2 used", true, "b",
		},
		{"another program", answeringAll(answer(200, "<html>")), agentNamed("b"), "1 fails, 2 used", true, "b"},
		{"a proxy", answeringAll(answer(502, "<html>")), agentNamed("b"), "1 fails, 2 used", true, "b"},
		{"hangs", answeringAll(hang), agentNamed("b"), "1 fails, 2 used", true, "b"},
		{"both down", answeringAll(abort), answeringAll(abort), "1 used fails, 2 fails", false, ""},
		{
			"one down, one does not know the token", answeringAll(abort), answeringAll(answer(403, "ACL not found")),
			"1 fails, 2 used fails", true, "",
		},
		{
			"one hangs, one has too many connections", answeringAll(hang), answeringAll(answer(429, "")),
			"1 used fails, 2 fails", false, "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := severalAgents(t, time.Second, tc.first, tc.second)
			snap := snapshot(t, c)
			up, err := snap.Up().Get(t.Context())
			agent, _ := snap.Agent().Get(t.Context())
			if err != nil || up != tc.up || agent.Name != tc.agent {
				t.Errorf("up = %v, %v, and the agent is %q; want %v, %q", up, err, agent.Name, tc.up, tc.agent)
			}
			if got := states(snap); got != tc.states {
				t.Errorf("agents: %s; want %s", got, tc.states)
			}
		})
	}
}

// An agent that hangs does not take the time of the scrape.
func TestAgents_HangingInTime(t *testing.T) {
	t.Parallel()
	const timeout = 8 * time.Second
	c := severalAgents(t, timeout, answeringAll(hang), answeringAll(hang), agentNamed("c"))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	start := time.Now()
	agent, err := snap.Agent().Get(t.Context())
	if took := time.Since(start); agent.Name != "c" || err != nil || took > timeout/choiceShare {
		t.Errorf("after %s the agent is %q, %v; want c in less than %s", took, agent.Name, err, timeout/choiceShare)
	}
}

// The agent that was useful last is asked first, without another asked before it, until the one that is preferred has
// answered again. What is remembered is that of the agent in use.
func TestAgents_Return(t *testing.T) {
	t.Parallel()
	var first changing
	first.Store(http.HandlerFunc(abort))
	handlers := answeringAll(first.serve)
	c := severalAgents(t, 20*time.Second, handlers, agentNamed("b"), agentNamed("c"))
	for i, tc := range []struct {
		back   bool
		states string
		used   string // The name of the agent that the scrape uses.
		next   int    // The index of the one that the next scrape asks first.
	}{
		{false, "1 fails, 2 used", "b", 1},
		{false, "1 fails, 2 used", "b", 1},
		{true, "1, 2 used", "b", 0},
		{true, "1 used", "a", 0},
	} {
		if tc.back {
			first.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == endpointSelf.Path {
					selfOf("a")(w, r)
					return
				}
				circumstancesOfFake[r.URL.Path](w, r)
			}))
		}
		snap := c.Snapshot(t.Context())
		agent, err := snap.Agent().Get(t.Context())
		for _, other := range snap.agentsAsked() {
			_, _ = other.Agent().Get(t.Context())
		}
		if got := states(snap); got != tc.states || agent.Name != tc.used || err != nil {
			t.Errorf("scrape %d: agents %s, and it uses %q, %v; want %s, and %s", i, got, agent.Name, err, tc.states, tc.used)
		}
		snap.Close()
		if next := slices.Index(c.Agents(), c.AgentInUse()); next != tc.next {
			t.Errorf("after scrape %d, agent %d is asked first; want %d", i, next, tc.next)
		}
		if c.known.agent == nil || c.known.agent.Name != string(rune('a'+tc.next)) {
			t.Errorf("after scrape %d, %+v is remembered as the agent", i, c.known.agent)
		}
	}
}

// A read that an agent turns away, or does not answer in time, is tried through another one. Only a witness says that
// the cluster does not serve it.
func TestConsistentRead_Elsewhere(t *testing.T) {
	t.Parallel()
	reading := func(read http.HandlerFunc) map[string]http.HandlerFunc {
		handlers := agentNamed("a")
		handlers[endpointConsistent.Path] = read
		return handlers
	}
	leaderless := agentNamed("a")
	leaderless[endpointStatusLeader.Path] = answer(200, `""`)
	served, failed := reading(answer(200, "[]")), reading(answer(500, "No cluster leader"))
	tooMany := reading(answer(429, ""))
	// To pass on a read to a leader that is gone from its pool, a server would log that as an error.
	lost := reading(answer(200, "[]"))
	lost[endpointStatusLeader.Path] = answer(200, `"10.0.0.9:8300"`)
	lost[endpointMembers.Path] = answer(200, `[{"Name":"c","Addr":"10.0.0.9","Status":4,
		"Tags":{"role":"consul","id":"id-c","dc":"dc1","port":"8300"}}]`)
	for _, tc := range []struct {
		name          string
		first, second map[string]http.HandlerFunc
		ok            bool
		unknown       string // Part of the error, if it is not known.
	}{
		{"too many connections", tooMany, served, true, ""},
		{"an unknown token", reading(answer(403, "ACL not found")), served, true, ""},
		{"hangs", reading(hang), served, true, ""},
		{"lost its leader", failed, served, true, ""},
		{"knows of no leader", leaderless, served, true, ""},
		{"neither knows of a leader", leaderless, leaderless, false, ""},
		{"the other one has lost its leader", tooMany, failed, false, ""},
		{"the other one's leader is gone", tooMany, lost, false, ""},
		{"both hang", reading(hang), reading(hang), false, ""},
		{"both have too many connections", tooMany, tooMany, false, "429"},
		{"too many connections, and the other one is down", tooMany, answeringAll(abort), false, "EOF"},
		{"one hangs, one has too many connections", reading(hang), tooMany, false, "429"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := severalAgents(t, time.Second, tc.first, tc.second)
			got, err := scrape(t, c, (*Snapshot).ConsistentRead)
			if got.OK != tc.ok || (err != nil) != (tc.unknown != "") {
				t.Errorf("got %+v, error %v; want OK %v, an error: %v", got, err, tc.ok, tc.unknown != "")
			}
			if err != nil && !strings.Contains(err.Error(), tc.unknown) {
				t.Errorf("error %q; want one with %q", err, tc.unknown)
			}
		})
	}
}

// Behind a balancer, what an agent measured is never taken for another's: it is that of the agent at the other end of
// one connection, or not known if the balancer distributes the requests of a connection.
func TestTelemetry_Balancer(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c"}
	var requests atomic.Int64
	// balancer answers for one of some agents; telemetry has the agent's name as a gauge.
	balancer := func(next func(*http.Request) string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{
			endpointSelf.Path: func(w http.ResponseWriter, r *http.Request) { selfOf(next(r))(w, r) },
			endpointTelemetry.Path: func(w http.ResponseWriter, r *http.Request) {
				answer(200, fmt.Sprintf(`{"Gauges":[{"Name":"consul.%s","Value":1}]}`, next(r)))(w, r)
			},
		}
	}
	byConnection := func(r *http.Request) string { // The client's port tells connections apart.
		_, port, _ := net.SplitHostPort(r.RemoteAddr)
		n, _ := strconv.Atoi(port)
		return names[n%len(names)]
	}
	for name, tc := range map[string]struct {
		next func(*http.Request) string
		err  error
	}{
		"connections": {byConnection, nil},
		"requests of two": {
			func(*http.Request) string { return names[requests.Add(1)%2] }, errSeveralAgents,
		},
		"requests of three": {
			func(*http.Request) string { return names[requests.Add(1)%3] }, errSeveralAgents,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, Options{TelemetryWait: time.Nanosecond}, balancer(tc.next))
			for range 9 {
				telemetry, err := scrape(t, c, (*Snapshot).Telemetry)
				if !errors.Is(err, tc.err) {
					t.Fatalf("error %v; want %v", err, tc.err)
				}
				if _, ok := telemetry.Gauge(telemetry.Agent.Name); err == nil && !ok {
					t.Errorf("the figures under the name of %q are another's: %v", telemetry.Agent.Name, telemetry.Figures)
				}
			}
		})
	}
}
