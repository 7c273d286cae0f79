// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
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
	hook := harness.Script(t, `echo "$CONSUL_RESPONDER_LABEL_round" >> `+ran+`; sleep 0.1`)
	r := harness.StartResponder(t, c.Servers[0].URL(), 3, fmt.Sprintf(`
  - name: hook
    cluster: any
    matchers: [alertname="Hook"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 1000
    action: {exec: {command: %s, timeout: 1s}}
`+harness.MarkerRule, hook))
	return &hookResponder{r, harness.Others(c, harness.LeaderOf(t, c))[0], ran}
}

// killAnytime kills the responder in each round at a random moment after an alert, and expects that the alert leads
// to one action and never to a second one. It returns how the actions ended.
func (h *hookResponder) killAnytime(t *testing.T, rounds int, random *rand.Rand) map[responder.Result]int {
	t.Helper()
	results := make(map[responder.Result]int)
	ends := []responder.Result{responder.ResultDone, responder.ResultUnknown, responder.ResultTimeout}
	for round := range rounds {
		time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // So that the cooldown is over.
		alert := harness.Firing("Hook", time.Now(), "server", h.follower.Name, "round", fmt.Sprint(round))
		h.Deliver(t, alert)
		// From before it looks at the cluster until after the action has ended.
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) //nolint:forbidigo // Any moment may be the one.
		h.Kill(t)
		h.RunningResponder = h.Start()
		// What was under way is waited for, and the cooldown.
		harness.WaitTrue(t, "the alert to have led to an action", func() bool {
			h.Deliver(t, alert)
			h.Settle(t)
			for _, d := range h.Records(t, "alertname", "Hook") {
				if d.Alert.Labels["round"] == fmt.Sprint(round) && slices.Contains(ends, d.Result) {
					results[d.Result]++
					return true
				}
			}
			return false
		})
		h.Deliver(t, alert)
		h.Settle(t)
	}
	content := must.Get(os.ReadFile(h.ran))(t)
	runs := make(map[string]int)
	for round := range strings.FieldsSeq(string(content)) {
		if runs[round]++; runs[round] > 1 {
			t.Errorf("the hook ran again in round %s", round)
		}
	}
	// Where the responder does not know how it ended, it may not have begun.
	if len(runs) < results[responder.ResultDone] {
		t.Errorf("results %v, and the hook ran in %d rounds of %d", results, len(runs), rounds)
	}
	return results
}

func (h *hookResponder) expectReadable(t *testing.T) {
	t.Helper()
	file := must.Get(os.ReadFile(h.History))(t)
	for line := range bytes.Lines(file) {
		if !json.Valid(line) || line[len(line)-1] != '\n' {
			t.Errorf("the history has the line %q", line)
		}
	}
}

// Killed at any moment of an action, it is not made again after a restart, and the history can be read. What a kill in
// the middle of an action leaves is in TestDecide_Crash and TestDecide_InterruptedIsPending.
func TestResponder_KilledAnytime(t *testing.T) {
	t.Parallel()
	h := startHookResponder(t)
	t.Logf("results %v", h.killAnytime(t, 15, proof.Random(t)))
	h.expectReadable(t)
}

func TestResponder_BadOptions(t *testing.T) {
	t.Parallel()
	const rules = "expected_servers: 1\nhistory: {file: history}\n" +
		"rules: [{name: a, cluster: any, matchers: [a=b], action: {transfer-leadership: {}}}]\n"
	dir := harness.WriteFiles(t, map[string]string{
		"open.yml": rules, "secret": "x", "locked.yml": rules + "secret_file: secret",
		"no-secret.yml": rules + "secret_file: missing",
		"no-folder.yml": strings.Replace(rules, "history}", "no/history}", 1),
		"web.yml":       "basic_auth_users: {a: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}",
	})
	for name, content := range map[string]string{"writable.yml": rules, "writable-token": "x"} {
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		must.Do(t, os.Chmod(filepath.Join(dir, name), 0o666))
	}
	const canWrite = " can be written by others (-rw-rw-rw-), who could make the responder do anything; see that only " +
		"root and the responder's user can write it, or allow it with --config.allow-writable-files"
	const open, locked = "--config.file=DIR/open.yml", "--config.file=DIR/locked.yml"
	const noSecret = "secret_file: there is none; without a secret the responder listens on loopback addresses only, " +
		"such as --web.listen-address=127.0.0.1:9108"
	const twoPasswords = "--web.config.file: basic_auth_users and the configuration's secret_file exclude each other: " +
		"Alertmanager can send only one of them; want for example web.yml with basic_auth_users or tls_server_config"
	for _, tc := range []struct{ flags, want string }{ // An error in each line of want; none: the configuration is good.
		{open, ""},
		{locked + " --web.listen-address=:9108", ""},
		{open + " --web.listen-address=[::1]:9108", ""},
		{"", "--config.file: there is none; want for example one such as docs/responder.example.yml"},
		{"--config.file=DIR/writable.yml", "--config.file: DIR/writable.yml" + canWrite},
		{open + " --consul.token-file=DIR/writable-token", "--consul.token-file: DIR/writable-token" + canWrite},
		{"--config.file=DIR/writable.yml --config.allow-writable-files", ""},
		{
			"--config.file=DIR/missing", "--config.file: open DIR/missing: no such file or directory; " +
				"want for example docs/config.example.yml (docs/responder.example.yml for the responder)",
		},
		{open + " --web.listen-address=:9108", noSecret},
		{open + " --web.listen-address=localhost:9108 --web.listen-address=0.0.0.0:9108", noSecret},
		{"--config.file=DIR/no-secret.yml", "secret_file: open DIR/missing: no such file or directory"},
		{locked + " --web.config.file=DIR/web.yml", twoPasswords},
		{
			open + " --consul.server=ftp://a --consul.timeout=0s",
			"--consul.server: the scheme is \"ftp\"; want http, https or unix\n" +
				"--consul.timeout: 0s is not above 0; want for example 2s",
		},
	} {
		flags := strings.Fields(strings.ReplaceAll(tc.flags, "DIR", dir))
		code, stdout, stderr := harness.RunProgram(t, append([]string{"responder", "--config.check"}, flags...)...)
		wantCode, wantOut, want := 0, "configuration is good\n", ""
		for line := range strings.Lines(strings.ReplaceAll(tc.want, "DIR", dir)) {
			wantCode, wantOut = 1, ""
			want += "consul_cluster_exporter: error: " + strings.TrimSpace(line) + "\n"
		}
		if code != wantCode || stdout != wantOut || stderr != want {
			t.Errorf("%s: exit code %d, printed %q and\n%s\nwant exit code %d and\n%s",
				flags, code, stdout, stderr, wantCode, want)
		}
	}
	code, _, stderr := harness.RunProgram(t, "responder", "--config.file="+dir+"/no-folder.yml")
	if code != 1 || !strings.Contains(stderr, "error: open "+dir+"/no/history.lock: no such file or directory") {
		t.Errorf("exit code %d, %s; want 1, and that the history cannot be written", code, stderr)
	}
}
