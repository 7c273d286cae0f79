// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// watchWrites puts a proxy in front of an agent, at the address that it returns. Writes returns the requests until now
// that are no reads. What a token may do is asked for with POST.
func watchWrites(t *testing.T, a *consultest.Agent) (address string, writes func() []string) {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(must.Get(url.Parse(a.URL()))(t))
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && !strings.HasPrefix(r.URL.Path, "/v1/internal/acl/authorize") {
			mu.Lock()
			asked = append(asked, r.Method+" "+r.URL.RequestURI())
			mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func expectLeader(t *testing.T, c *consultest.Cluster, when string, want *consultest.Agent) {
	t.Helper()
	if now := harness.LeaderOf(t, c); now != want {
		t.Errorf("%s %s leads; want %s", when, now.Name, want.Name)
	}
}

// The exporter only reads. A dry run says exactly what is done without it, and asks nothing of Consul. The exporter's
// policy does not allow the action, and the responder's does. However often an alert is delivered, the leader hands
// over once. With one of the three down, it does not. TestStackResponderHungLeader has a leader that hangs.
func TestResponder_Transfer(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3, ACL: true})
	leader := harness.LeaderOf(t, c)
	next := harness.Others(c, leader)[0]
	watched, writes := watchWrites(t, leader)
	newToken := func(policy string) string {
		token := must.Get(c.NewToken(t.Context(), policy))(t)
		return token
	}
	reader, writer := newToken(harness.ReadmePolicy(t)), newToken(harness.PolicyIn(t, "docs/recovery.md"))
	mayRead, mayWrite := "--consul.token-file="+harness.Secret(t, reader), "--consul.token-file="+harness.Secret(t, writer)
	expectOnlyReads(t, watched, mayRead, writes)

	rule := func(more string) string {
		return "\n  - {name: transfer, cluster: any, matchers: [alertname=Transfer], " + more + "}\n" + harness.MarkerRule
	}
	toNext := "action: {transfer-leadership: {to: " + next.Name + "}}"
	afterwards := "Without " + leader.Name + " 2 of 3 voters can be counted on"
	dry := harness.StartResponder(t, watched, 3, rule(toNext), mayRead)
	would := dry.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultDryRun, afterwards)
	if asked := writes(); len(asked) > 0 {
		t.Errorf("a dry run asked %v of Consul", asked)
	}
	weak := harness.StartResponder(t, leader.URL(), 3, rule("dry_run: false, "+toNext), mayRead)
	failed := weak.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultFailed, "403")
	if strings.Contains(fmt.Sprintf("%+v", failed)+weak.Log.String(), reader) {
		t.Error("the token is in the history or the log")
	}
	expectLeader(t, c, "without the right to change anything", leader)

	live := harness.StartResponder(t, watched, 3, rule("dry_run: false, "+toNext), mayWrite)
	did := live.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultDone, afterwards)
	_, asked, _ := strings.Cut(would.What, ": ")
	if did.What != would.What || !slices.Equal(writes(), []string{asked}) || !strings.Contains(asked, "?id=") {
		t.Errorf("the dry run says %q, it was done %q, and Consul was asked %q; want the same",
			would.What, did.What, writes())
	}
	if did.Output != next.Name+" leads." {
		t.Errorf("the history says %q; want that %s leads", did.Output, next.Name)
	}
	expectLeader(t, c, "after the transfer", next)
	transferOnce(t, c, next, harness.StartResponder(t, c.Servers[0].URL(), 3, rule("dry_run: false, cooldown: 1s, "+
		"max_per_hour: 10, action: {transfer-leadership: {}}"), mayWrite))
	harness.WaitCalm(t, c)
	oneOfThreeDown(t, c, mayWrite)
}

// expectOnlyReads expects that nothing of the responder runs without its command: the exporter takes no deliveries, has
// no such metrics, and only reads.
func expectOnlyReads(t *testing.T, watched, mayRead string, writes func() []string) {
	t.Helper()
	e := harness.StartExporter(t, nil, "--consul.server="+watched, mayRead)
	e.Scrape(t).ExpectNone(t, "consul_responder")
	e.Page(t, "/", http.StatusOK)
	for _, path := range []string{"/alerts", "/history"} {
		e.Page(t, path, http.StatusNotFound)
		resp, err := http.Post(e.URL+path, "application/json", http.NoBody)
		must.Do(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s: status %d; want 404", path, resp.StatusCode)
		}
	}
	if asked := writes(); len(asked) > 0 {
		t.Errorf("the exporter asked %v of Consul", asked)
	}
}

// transferOnce delivers an alert about the leader again and again. TestDecide_Once has all orders, also with the alert
// resolved, and TestTransfer_Applies alerts about servers that do not lead.
func transferOnce(t *testing.T, c *consultest.Cluster, leader *consultest.Agent, r *harness.RunningResponder) {
	t.Helper()
	began := time.Now()
	alert := harness.Firing("Transfer", began.Add(-time.Minute), "server", leader.Name)
	done := r.Decided(t, alert, "transfer", responder.ResultDone,
		"Without "+leader.Name+" 2 of 3 voters can be counted on, and the quorum is 2")
	inOrder := !done.Time.Before(began.Truncate(time.Millisecond)) && done.Ended != nil && !done.Ended.Before(done.Time)
	if !inOrder || done.What != "Transfer the leadership from "+leader.Name+
		" to the voter that Raft finds best: POST /v1/operator/raft/transfer-leader" {
		t.Errorf("the history has %+v", done)
	}
	next := harness.LeaderOf(t, c)
	if next == leader || done.Output != next.Name+" leads." {
		t.Errorf("%s leads, and the history says %q; want another one than %s", next.Name, done.Output, leader.Name)
	}
	time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // The cooldown is not what is tested.
	// Another Prometheus saw it begin somewhat later.
	later := harness.Firing("Transfer", began.Add(-59*time.Second), "server", leader.Name)
	for _, again := range []map[string]any{alert, later} {
		r.Deliver(t, again)
		r.Settle(t)
	}
	if records := r.Records(t, "rule", "transfer", "result", "done"); len(records) != 1 {
		t.Errorf("%d actions: %+v; want one", len(records), records)
	}
	expectLeader(t, c, "after more deliveries", next)
}
