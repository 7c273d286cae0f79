// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

func TestConsistentRead(t *testing.T) {
	t.Parallel()
	const leader = `"10.0.0.1:8300"`
	leading := answer(200, `{"Config":{"NodeName":"a","Server":true},"Stats":{"raft":{"state":"Leader","term":"1",
		"commit_index":"1","applied_index":"1","fsm_pending":"0","last_snapshot_index":"0","last_snapshot_term":"0"}}}`)
	for _, tc := range []struct {
		name         string
		leader, read http.HandlerFunc // A read that is nil must not be made.
		self         http.HandlerFunc // By default a refusal.
		ok, refused  bool
		broken       bool // An error, be it a refusal.
		hangs        bool // Somebody does not answer.
	}{
		{name: "served", leader: answer(200, leader), read: answer(200, "[]"), ok: true},
		{name: "no leader", leader: answer(200, `""`)},
		{name: "hangs", leader: answer(200, leader), read: hang, broken: true, hangs: true},
		{name: "the leader hangs", leader: answer(200, leader), read: hang, self: leading, hangs: true},
		{name: "the servers hang", leader: hang, self: named, broken: true, hangs: true},
		{name: "the servers hang, no rights", leader: hang, broken: true, hangs: true},
		{name: "the agent hangs", leader: hang, self: hang, broken: true, hangs: true},
		{name: "lost its leader", leader: answer(200, leader), read: answer(500, "No cluster leader")},
		{name: "asked too much", leader: answer(200, leader), read: answer(429, ""), broken: true},
		{name: "no servers", leader: answer(500, "No known Consul servers"), read: answer(500, "No known Consul servers")},
		{name: "does not say who leads", leader: answer(403, ""), read: answer(200, "[]"), ok: true},
		{name: "refused", leader: answer(200, leader), read: answer(403, "ACL not found"), refused: true, broken: true},
		{
			name: "agent is gone", leader: answer(200, leader),
			read: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, broken: true,
		},
		{name: "agent is gone behind a proxy", leader: answer(502, ""), broken: true},
		{name: "no list", leader: answer(200, leader), read: answer(200, `{"a":1}`), broken: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			handlers := map[string]http.HandlerFunc{endpointStatusLeader.Path: tc.leader, endpointSelf.Path: answer(403, "")}
			if tc.self != nil {
				handlers[endpointSelf.Path] = tc.self
			}
			var query atomic.Value
			if tc.read != nil {
				handlers[endpointConsistent.Path] = func(w http.ResponseWriter, r *http.Request) {
					query.Store(r.URL.RawQuery)
					tc.read(w, r)
				}
			}
			patience, agentPatience := 200*time.Millisecond, time.Second
			if !tc.hangs { // Too long to be the reason, even on a busy machine.
				patience, agentPatience = 20*time.Second, 20*time.Second
			}
			c := newTestCluster(t, Options{
				Client: consul.Options{Timeout: agentPatience, Datacenter: "other"}, ConsistentTimeout: patience,
			}, handlers)
			start := time.Now()
			got, err := scrape(t, c, (*Snapshot).ConsistentRead)
			took := time.Since(start)
			if (err != nil) != tc.broken || errors.Is(err, consul.ErrRefused) != tc.refused {
				t.Errorf("error %v; want one: %v, a refusal: %v", err, tc.broken, tc.refused)
			}
			if got.OK != tc.ok || (got.Duration > 0) != tc.ok || got.Duration > took {
				t.Errorf("got %+v after %s; want OK %v", got, took, tc.ok)
			}
			if q := query.Load(); q != nil && q != "consistent=" {
				t.Errorf("query is %q; want consistent and nothing else", q)
			}
		})
	}
}

// A scrape that has less time than the read may take does not conclude anything from that.
func TestConsistentRead_ScrapeEnds(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
		endpointSelf.Path: answer(403, ""), endpointStatusLeader.Path: answer(200, `"10.0.0.1:8300"`),
		endpointConsistent.Path: hang,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	if got, err := snap.ConsistentRead().Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, error %v; want that of the timeout", got, err)
	}
}

// What waits for the leader's name first has no more time than what does not. It measures time, hence runs alone.
func TestSlowLeader(t *testing.T) {
	const timeout, slow = time.Second, 800 * time.Millisecond
	c := newTestCluster(t, Options{Client: consul.Options{Timeout: timeout}}, map[string]http.HandlerFunc{
		endpointSelf.Path: answer(403, ""),
		endpointStatusLeader.Path: func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(slow)
			_, _ = io.WriteString(w, `"10.0.0.1:8300"`)
		},
		endpointConsistent.Path:     hang,
		endpointACLReplication.Path: hang,
	})
	snap := snapshot(t, c)
	start := time.Now()
	read, replication := snap.ConsistentRead(), snap.ACLReplication()
	if got, err := read.Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, error %v; want that of the timeout", got, err)
	}
	if _, err := replication.Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v; want that of the timeout", err)
	}
	if took := time.Since(start); took < timeout || took > timeout+slow/2 {
		t.Errorf("took %s; want the timeout of %s", took, timeout)
	}
}
