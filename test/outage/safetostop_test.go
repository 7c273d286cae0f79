// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/reporttest"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/reservation"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// expectAnswer asks until the answer has this exit code and reason.
func expectAnswer(t *testing.T, asked *consultest.Agent, server string, code int, reason string, args ...string) {
	t.Helper()
	harness.WaitFor(t, time.Minute, "safe to stop "+server+": "+reason, func() string {
		answer, got := askToStop(t, asked, server, args...)
		why := strings.Join(answer.Reasons, " ") + answer.Hint + answer.Error
		return harness.Unless(got == code && strings.Contains(why, reason), "exit code %d, %q", got, why)
	})
}

// However many hosts ask at once, no more of them get a yes than the quorum can do without.
func TestSafeToStop_Reserve(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{3, 5} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) { reserveAtOnce(t, servers) })
	}
}

// reservePolicy is all that the token of a reservation needs.
const reservePolicy = `key "` + reservation.DefaultKey + `" { policy = "write" }`

func reserveAtOnce(t *testing.T, servers int) {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: servers, ACL: true})
	harness.Settle(t, c)
	read := harness.Secret(t, must.Get(c.NewToken(t.Context(), harness.ReadmePolicy(t)))(t))
	write := harness.Secret(t, must.Get(c.NewToken(t.Context(), reservePolicy))(t))
	flags := []string{"--consul.token-file=" + read, "--reserve.token-file=" + write}
	reserve := append(slices.Clone(flags), "--reserve")

	codes := make([]int, servers)
	answers := make([]stopAnswer, servers)
	var asking sync.WaitGroup
	for i, a := range c.Servers {
		asking.Go(func() { answers[i], codes[i] = askToStop(t, a, a.Name, reserve...) })
	}
	asking.Wait()
	var allowed []*consultest.Agent
	for i, a := range c.Servers {
		switch codes[i] {
		case cli.ExitSafe:
			allowed = append(allowed, a)
		case cli.ExitUnsafe:
		default:
			t.Errorf("%s: exit code %d, %+v; want yes or no", a, codes[i], answers[i])
		}
	}
	if want := (servers - 1) / 2; len(allowed) != want {
		t.Fatalf("%d of %d hosts got a yes: %+v; want %d", len(allowed), servers, answers, want)
	}
	denied := harness.Others(c, allowed...)[0]
	expectAnswer(t, denied, denied.Name, cli.ExitUnsafe, "somebody has reserved its stop", reserve...)
	expectAnswer(t, allowed[0], allowed[0].Name, cli.ExitSafe, "Its stop is reserved for 15m0s.", reserve...)

	must.Do(t, allowed[0].Kill())
	expectAnswer(t, denied, denied.Name, cli.ExitUnsafe, allowed[0].Name+" cannot be counted on", reserve...)
	release := func(want int, args ...string) {
		t.Helper()
		args = append([]string{"check", "--consul.server=" + denied.URL(), "--release=" + allowed[0].Name}, args...)
		code, out, errs := harness.RunProgram(t, append(args, flags...)...)
		if code != want {
			t.Errorf("release: exit code %d, %q, %q; want %d", code, out, errs, want)
		}
	}
	release(cli.ExitUnsafe)
	expectAnswer(t, denied, allowed[0].Name, cli.ExitUnknown, "there is no server named", flags[0])
	release(cli.ExitUnsafe) // Autopilot has removed it.
	must.Do(t, allowed[0].Restart(harness.Soon(t)))
	must.Do(t, c.WaitHealthy(harness.Soon(t)))
	release(cli.ExitSafe, "--wait=1m") // Autopilot may notice only now that the server was away.
	expectAnswer(t, denied, denied.Name, cli.ExitSafe, "Its stop is reserved", reserve...)

	// Without the right to write the reservation, there is no yes.
	expectAnswer(t, denied, denied.Name, cli.ExitUnknown, "Permission denied", "--consul.token-file="+read, "--reserve")
}

// A reservation ends when its time is over.
func TestSafeToStop_ReserveExpires(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	harness.Settle(t, c)
	a, b := c.Servers[0], c.Servers[1]
	expectAnswer(t, a, a.Name, cli.ExitSafe, "Its stop is reserved for 10s.", "--reserve", "--reserve.for=10s")
	expectAnswer(t, b, b.Name, cli.ExitUnsafe, a.Name+" cannot be counted on: somebody has reserved its stop.",
		"--reserve")
	expectAnswer(t, b, b.Name, cli.ExitSafe, "2 of 3 voters", "--reserve", "--wait=30s")
}

// A second server that waits for its vote cannot be stopped: autopilot may give it one in the next moment, and then the
// first one depends on it.
func TestSafeToStop_Joining(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := &stopCluster{T: t, Cluster: consultest.Start(t, consultest.Options{Servers: 2})}
	harness.Settle(t, c.Cluster)
	alone, joins := c.Servers[0], c.Servers[1]
	must.Do(t, c.stabilize(ctx, time.Hour))
	must.Do(t, joins.Leave(ctx))
	must.Do(t, joins.Restart(ctx))
	expectAnswer(t, alone, joins.Name, cli.ExitUnsafe,
		joins.Name+" has no vote yet. Autopilot gives it one once it is stable, and then the quorum is 2 of 2")
	expectAnswer(t, joins, alone.Name, cli.ExitUnsafe, "0 of 1 voters can be counted on")
	must.Do(t, c.stabilize(ctx, time.Second))
	expectAnswer(t, alone, joins.Name, cli.ExitUnsafe, "1 of 2 voters can be counted on")
}

// What is known of servers that are gone comes from an exporter of this cluster, or is said to be missing: a server of
// another cluster, which is in a state file that was mixed up, is not one that can be stopped because it is gone.
func TestSafeToStop_Memory(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	harness.Settle(t, c)
	stranger := reporttest.Server(9)
	m := memory.New(memory.Options{})
	m.Learn(&inputs.Evidence{At: time.Unix(1, 0), Topology: cluster.Topology{
		RaftKnown: true, Servers: []cluster.Server{stranger},
		Peers: []cluster.RaftPeer{{ID: stranger.ID, Address: stranger.RPCAddress, Voter: true}},
	}})
	file := filepath.Join(t.TempDir(), "state.json")
	must.Do(t, os.WriteFile(file, must.Get(m.Encode(time.Unix(2, 0)))(t), 0o600))
	for _, tc := range []struct {
		server string
		flags  []string
		code   int
		memory string
	}{
		{c.Servers[0].Name, nil, cli.ExitSafe, "none, so only what Consul knows now (give --state.file or --exporter)"},
		{c.Servers[0].Name, []string{"--state.file=" + file}, cli.ExitSafe, "about another cluster"},
		{stranger.Name, []string{"--state.file=" + file}, cli.ExitUnknown, "about another cluster"},
	} {
		answer, code := askToStop(t, c.Servers[1], tc.server, tc.flags...)
		if code != tc.code || !strings.Contains(answer.Memory, tc.memory) {
			t.Errorf("%s %q: exit code %d, %+v; want %d and the memory %q", tc.server, tc.flags, code, answer, tc.code,
				tc.memory)
		}
	}
	code, out, errs := harness.CheckOf(t, c.Servers[1], "--state.file="+file)
	if code != cli.ExitHealthy || !strings.Contains(harness.Unwrapped(out), "about another cluster") ||
		strings.Contains(out, stranger.Name) {
		t.Errorf("check: exit code %d, printed %q and %q; want no %s", code, out, errs, stranger.Name)
	}
}

// A server that led, hung, and lost its vote to autopilot's cleanup has its old Raft configuration and its old view of
// the servers' health for a moment when it goes on. What it is asked then is answered by what the leader has.
func TestSafeToStop_JustWoken(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3})
	harness.Settle(t, c)
	woken, other := c.Servers[0], c.Servers[1]
	must.Do(t, c.TransferLeadership(harness.Soon(t), woken))
	must.Do(t, c.WaitHealthy(harness.Soon(t)))
	must.Do(t, woken.Stop())
	harness.WaitFor(t, time.Minute, "autopilot to take the vote", func() string {
		return harness.Unless(votes(t, other) == 2, "%d voters", votes(t, other))
	})
	leader := harness.LeaderOf(t, c)
	agent := httputil.NewSingleHostReverseProxy(must.Get(url.Parse(woken.URL()))(t))
	goOn := sync.OnceValue(woken.Continue)
	port := harness.ServeOn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		must.Do(t, goOn()) // It answers before anybody else has spoken to it.
		agent.ServeHTTP(w, r)
	}))
	for first := true; first || votes(t, other) == 2; first = false { // Until it has been stable for ten seconds.
		_, out, errs := harness.RunProgram(t, "check", "--consul.server=http://127.0.0.1:"+port,
			"--safe-to-stop="+leader.Name, "--output=json")
		var answer stopAnswer
		must.Do(t, json.Unmarshal([]byte(out), &answer))
		right := answer.Voters == 2 && answer.Answer == verdict.AnswerNo
		if !right && answer.Answer != verdict.AnswerUnknown && votes(t, other) == 2 {
			t.Errorf("safe to stop %s: %s%s; want no, or unknown: it is one of two voters", leader, out, errs)
		}
	}
	expectAnswer(t, woken, leader.Name, cli.ExitSafe, "2 of 3 voters")
}

// votes is how many servers have a vote in the Raft configuration of this one.
func votes(t *testing.T, a *consultest.Agent) (n int) {
	t.Helper()
	config := must.Get(a.Client().Operator().RaftGetConfiguration(&api.QueryOptions{AllowStale: true}))(t)
	for _, s := range config.Servers {
		if s.Voter {
			n++
		}
	}
	return n
}
