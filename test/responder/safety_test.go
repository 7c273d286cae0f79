// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// hookResponder is a responder that runs hooks, on a cluster of three.
type hookResponder struct {
	*harness.RunningResponder
	follower *consultest.Agent
	// ran is the file to which the hooks add a line each.
	ran string
}

func startHookResponder(t *testing.T) *hookResponder {
	t.Helper()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	ran := filepath.Join(t.TempDir(), "ran")
	r := harness.StartResponder(t, c.Servers[0].URL(), 3, fmt.Sprintf(`
  - name: hook
    matchers: [alertname="Hook"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 1000
    action: {exec: {command: %s, timeout: 1s}}
  - name: slow-hook
    matchers: [alertname="Slow"]
    dry_run: false
    action: {exec: {command: %s, timeout: 30s}}
`+harness.MarkerRule, harness.Script(t, `echo "$CONSUL_RESPONDER_LABEL_round" >> `+ran+`; sleep 0.1`), harness.Script(t, `echo slow >> `+ran+`; exec sleep 20`)))
	return &hookResponder{r, harness.Others(c, harness.LeaderOf(t, c))[0], ran}
}

// killAnytime kills the responder in each round at a random moment after an alert, and expects that the alert leads
// to one action and never to a second one. It returns how the actions ended.
func (h *hookResponder) killAnytime(t *testing.T, rounds int, random *rand.Rand) map[responder.Result]int {
	t.Helper()
	results := make(map[responder.Result]int)
	for round := range rounds {
		time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // So that the cooldown is over.
		alert := harness.Firing("Hook", time.Now(), "server", h.follower.Name, "round", fmt.Sprint(round))
		h.Deliver(t, alert)
		// From before it looks at the cluster until after the action has ended.
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) //nolint:forbidigo // Any moment may be the one.
		h.Kill(t)
		h.RunningResponder = h.Start()
		harness.WaitTrue(t, "the alert to have led to an action", func() bool { // What was under way is waited for, and the cooldown.
			h.Deliver(t, alert)
			h.Settle(t)
			for _, d := range h.Records(t, "alertname", "Hook") {
				if d.Alert.Labels["round"] == fmt.Sprint(round) && slices.Contains([]responder.Result{responder.ResultDone, responder.ResultUnknown, responder.ResultTimeout}, d.Result) {
					results[d.Result]++
					return true
				}
			}
			return false
		})
		for range 2 {
			h.Deliver(t, alert)
		}
		h.Settle(t)
	}
	content, err := os.ReadFile(h.ran)
	harness.Must(t, err)
	runs := make(map[string]int)
	for round := range strings.FieldsSeq(string(content)) {
		if runs[round]++; runs[round] > 1 {
			t.Errorf("the hook ran again in round %s", round)
		}
	}
	// Where the responder does not know how it ended, it may not have begun.
	if results[responder.ResultDone]+results[responder.ResultUnknown]+results[responder.ResultTimeout] != rounds || len(runs) < results[responder.ResultDone] {
		t.Errorf("results %v, and the hook ran in %d rounds of %d", results, len(runs), rounds)
	}
	return results
}

// expectReadable expects that each line of the history is JSON.
func (h *hookResponder) expectReadable(t *testing.T) {
	t.Helper()
	file, err := os.ReadFile(h.History)
	harness.Must(t, err)
	for line := range bytes.Lines(file) {
		if !json.Valid(line) || line[len(line)-1] != '\n' {
			t.Errorf("the history has the line %q", line)
		}
	}
}

// Killed at any moment of an action, it is not made again after a restart, and the history can be read.
func TestResponder_KilledAnytime(t *testing.T) {
	t.Parallel()
	h := startHookResponder(t)
	t.Logf("results %v", h.killAnytime(t, 15, proof.Random(t)))

	// A kill in the middle of the action leaves a result that is unknown.
	slow := harness.Firing("Slow", time.Now(), "server", h.follower.Name)
	harness.WaitTrue(t, "the slow hook to run", func() bool {
		h.Deliver(t, slow)
		content, err := os.ReadFile(h.ran)
		return err == nil && strings.Contains(string(content), "slow\n")
	})
	h.Kill(t)
	h.RunningResponder = h.Start()
	harness.ExpectDecision(t, h.WaitDecision(t, "alertname", "Slow"), "slow-hook", responder.ResultUnknown, "it is not made again")
	h.Deliver(t, slow)
	other := harness.Firing("Hook", time.Now(), "server", h.follower.Name, "round", "other")
	h.Deliver(t, other)
	harness.ExpectDecision(t, h.WaitDecision(t, "alertname", "Hook", "result", "refused_by_guard"), "hook", responder.ResultRefused,
		"An action from before a restart may be under way until ")
	content, err := os.ReadFile(h.ran)
	harness.Must(t, err)
	if n := strings.Count(string(content), "slow\n"); n != 1 {
		t.Errorf("the slow hook ran %d times; want once", n)
	}
	h.expectReadable(t)
}

// Whatever is delivered, it is rejected, or nothing is run but the command that is configured.
func TestResponder_HostileDeliveries(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 1})
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	harness.Must(t, os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	ran := filepath.Join(dir, "ran")
	r := harness.StartResponder(t, c.Servers[0].URL(), 1, fmt.Sprintf(`
  - name: hook
    matchers: ['alertname=~"(?s).*touch.*"']
    dry_run: false
    cooldown: 1s
    max_per_hour: 100
    action: {exec: {command: %s}}
secret_file: %s
`, harness.Script(t, "echo ran >> "+ran), secret))
	hostile := "`touch " + dir + "/a`$(touch " + dir + "/b);touch " + dir + "/c\n\"'|&<>\\\x00"
	body := func(alerts ...map[string]any) []byte {
		content, err := json.Marshal(map[string]any{"version": "4", "alerts": alerts})
		harness.Must(t, err)
		return content
	}
	// The one server cannot be stopped: the guards are what keeps the command from running.
	attack := harness.Firing(hostile, time.Now(), "server", c.Servers[0].Name, hostile, hostile)
	many := slices.Repeat([]map[string]any{harness.Firing("touch", time.Now())}, 10000)
	for _, tc := range []struct {
		name, secret string
		body         []byte
		status       int
	}{
		{"no secret", "", body(attack), 401},
		{"wrong secret", "s3cre", body(attack), 401},
		{"malformed", "s3cret", []byte(`{"version":"4","alerts":[{]}`), 400},
		{"10 MB", "s3cret", body(harness.Firing(strings.Repeat("touch", 2<<20), time.Now())), 413},
		{"10,000 alerts", "s3cret", body(many...), 413},
		{"shell syntax", "s3cret", body(attack), 200},
	} {
		if status, answer := r.Post(t, "application/json", tc.secret, tc.body); status != tc.status {
			t.Errorf("%s: status %d, %.200s; want %d", tc.name, status, answer, tc.status)
		}
	}
	r.Secret = "s3cret"
	r.WaitDecision(t)
	records := r.Records(t)
	if len(records) != 1 || records[0].Result != responder.ResultRefused || records[0].Alert.Labels["alertname"] != hostile {
		t.Errorf("the history has %+v; want the one refusal, with the labels as they are", records)
	}
	if status, _, err := r.Get(t.Context(), "/history", time.Second); err != nil || status != http.StatusUnauthorized {
		t.Errorf("the history without the secret: status %d, %v; want 401", status, err)
	}
	files, err := os.ReadDir(dir)
	harness.Must(t, err)
	if len(files) != 1 {
		t.Errorf("files %v; want the secret only", files)
	}
	if strings.Contains(r.Log.String(), "s3cret") {
		t.Error("the secret is in the log")
	}
}

// The responder's policy is enough, and the exporter's allows no write: with its token Consul refuses what the
// responder does.
func TestResponder_Policies(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3, ACL: true})
	leader := harness.LeaderOf(t, c)
	rules := `
  - name: transfer
    matchers: [alertname="Transfer"]
    dry_run: false
    cooldown: 1s
    action: {transfer-leadership: {}}
`
	run := func(policy string) (*harness.RunningResponder, string) {
		token, err := c.NewToken(t.Context(), policy)
		harness.Must(t, err)
		return harness.StartResponder(t, leader.URL(), 3, rules, "--consul.token-file="+harness.Secret(t, token)), token
	}
	if policy := harness.ReadmePolicy(t); strings.Contains(policy, "write") {
		t.Errorf("the exporter's policy has a write:\n%s", policy)
	}
	r, token := run(harness.ReadmePolicy(t))
	refused := r.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultFailed, "403")
	if strings.Contains(fmt.Sprintf("%+v", refused)+r.Log.String(), token) {
		t.Error("the token is in the history or the log")
	}
	if now := harness.LeaderOf(t, c); now != leader {
		t.Errorf("%s leads; want %s still", now.Name, leader.Name)
	}
	r, _ = run(harness.PolicyIn(t, "docs/recovery.md"))
	r.Decided(t, harness.Firing("Transfer", time.Now()), "transfer", responder.ResultDone, "")
	if now := harness.LeaderOf(t, c); now == leader {
		t.Errorf("%s leads still", now.Name)
	}
}

// Without the command nothing of the responder runs: the exporter takes no deliveries, has no such metrics, and only
// reads.
func TestResponder_Off(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	requests := logRequests(t, c.Servers[0])
	e := harness.StartExporter(t, nil, "--consul.server="+requests.URL)
	e.Scrape(t).ExpectNone(t, "consul_responder")
	if status, _, err := e.Get(t.Context(), "/", time.Second); err != nil || status != http.StatusOK {
		t.Errorf("status page: %d, %v", status, err)
	}
	for _, path := range []string{"/alerts", "/history"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(t.Context(), method, e.URL+path, http.NoBody)
			harness.Must(t, err)
			resp, err := http.DefaultClient.Do(req)
			harness.Must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: status %d; want 404", method, path, resp.StatusCode)
			}
		}
	}
	if writes := requests.writes(); len(writes) > 0 {
		t.Errorf("the exporter asked %v of Consul", writes)
	}
	for _, word := range []string{"alerts_received", "actions_total"} {
		if _, metrics, err := e.Get(t.Context(), "/metrics", time.Second); err != nil || strings.Contains(metrics, word) {
			t.Errorf("the exporter's metrics have %s (%v)", word, err)
		}
	}
}

func TestResponder_BadOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		harness.Must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	rules := "expected_servers: 1\nhistory: {file: history}\nrules: [{name: a, matchers: [a=b], action: {transfer-leadership: {}}}]\n"
	open, locked := write("open.yml", rules), write("locked.yml", rules+"secret_file: "+write("secret", "x"))
	noSecret, noFolder := write("no-secret.yml", rules+"secret_file: missing"), write("no-folder.yml", strings.Replace(rules, "history}", "no/history}", 1))
	users := write("web.yml", "basic_auth_users: {a: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}")
	missing := filepath.Join(dir, "missing")
	for _, tc := range []struct {
		name string
		args []string
		want []string // One line each; empty: the configuration is good.
	}{
		{"good", []string{"--config.file=" + open}, nil},
		{"good with a secret", []string{"--config.file=" + locked, "--web.listen-address=:9108"}, nil},
		{"IPv6 loopback", []string{"--config.file=" + open, "--web.listen-address=[::1]:9108"}, nil},
		{"no file", nil, []string{"--config.file: there is none; docs/responder.example.yml has all that it can have"}},
		{"missing file", []string{"--config.file=" + missing}, []string{"open " + missing + ": no such file or directory"}},
		{"open to all", []string{"--config.file=" + open, "--web.listen-address=:9108"}, []string{
			"secret_file: there is none; without a secret the responder listens on loopback addresses only, such as --web.listen-address=127.0.0.1:9108",
		}},
		{"open to some", []string{"--config.file=" + open, "--web.listen-address=localhost:9108", "--web.listen-address=10.0.0.1:9108"}, []string{
			"secret_file: there is none; without a secret the responder listens on loopback addresses only, such as --web.listen-address=127.0.0.1:9108",
		}},
		{"no secret", []string{"--config.file=" + noSecret}, []string{"secret_file: open " + missing + ": no such file or directory"}},
		{"two passwords", []string{"--config.file=" + locked, "--web.config.file=" + users}, []string{
			"--web.config.file: basic_auth_users and the configuration's secret_file exclude each other: Alertmanager can send only one of them",
		}},
		{"flags", []string{"--config.file=" + open, "--consul.server=ftp://a", "--consul.timeout=0s"}, []string{
			`--consul.server: the scheme is "ftp"; want http, https or unix`, "--consul.timeout: 0s is not above 0",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := harness.RunProgram(t, append([]string{"responder", "--config.check"}, tc.args...)...)
			want, wantCode, wantOut := "", 0, "configuration is good\n"
			for _, line := range tc.want {
				want += "consul_cluster_exporter: error: " + line + "\n"
				wantCode, wantOut = 1, ""
			}
			if code != wantCode || stdout != wantOut || stderr != want {
				t.Errorf("exit code %d, printed %q and\n%s\nwant exit code %d and\n%s", code, stdout, stderr, wantCode, want)
			}
		})
	}
	code, _, stderr := harness.RunProgram(t, "responder", "--config.file="+noFolder)
	if code != 1 || !strings.Contains(stderr, "error: open "+filepath.Join(dir, "no", "history.lock")+": no such file or directory") {
		t.Errorf("exit code %d, %s; want 1, and that the history cannot be written", code, stderr)
	}
}
