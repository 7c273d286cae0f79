// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The hook among the examples works on a cluster with TLS and ACLs: the responder hands it how to reach Consul, and its
// check finds the server safe to stop. `responder test` says the same beforehand, and does nothing.
func TestResponder_ShippedHook(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3, TLS: true, ACL: true})
	bin := t.TempDir()
	program := "#!/bin/sh\nexport " + harness.AsExporter + "=1\nexec " + os.Args[0] + ` "$@"` + "\n"
	ran := filepath.Join(t.TempDir(), "ran")
	for name, content := range map[string]string{
		"consul_cluster_exporter": program, "ssh": "#!/bin/sh\necho \"$@\" >> " + ran + "\n",
	} {
		must.Do(t, os.WriteFile(filepath.Join(bin, name), []byte(content), 0o700))
	}
	shipped := string(must.Get(os.ReadFile("examples/responder/restart-hung-consul"))(t))
	hook := filepath.Join(bin, "hook")
	ours := strings.NewReplacer("set -eu\n", "set -eu\nPATH="+bin+":$PATH\n", "consul-[1-5])", "server-*)").
		Replace(shipped)
	must.Do(t, os.WriteFile(hook, []byte(ours), 0o700))

	token := must.Get(c.NewToken(t.Context(), harness.PolicyIn(t, "docs/recovery.md")))(t)
	flags := []string{
		"--consul.token-file=" + harness.Secret(t, token), "--consul.ca-file=" + c.CACert,
		"--consul.cert-file=" + c.ClientCert, "--consul.key-file=" + c.ClientKey,
	}
	rule := fmt.Sprintf(`
  - name: hung-server
    cluster: production
    matchers: [alertname="Hung"]
    dry_run: false
    action: {exec: {command: %s, args: [s3cret]}}
`, hook)
	r := harness.StartResponder(t, c.Servers[0].URL(), 3, rule+harness.MarkerRule, flags...)
	follower := harness.Others(c, harness.LeaderOf(t, c))[0]

	alert := harness.WriteFile(t, "alert.json", fmt.Sprintf(
		`{"labels":{"alertname":"Hung","cluster":"production","server":%q}}`, follower.Name))
	args := append([]string{
		"responder", "test", "--alert=" + alert, "--consul.server=" + c.Servers[0].URL(),
		"--config.file=" + filepath.Join(filepath.Dir(r.History), "responder.yml"),
	}, flags...)
	harness.WaitTrue(t, "responder test to find that the hook can run", func() bool {
		code, stdout, stderr := harness.RunProgram(t, args...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		return strings.Contains(stdout, "Rule hung-server, action exec. It would be done now.") &&
			strings.Contains(stdout, "Run "+hook+" with 1 argument.")
	})
	if _, err := os.Stat(ran); err == nil {
		t.Error("responder test has run the hook")
	}
	done := r.Decided(t, harness.Firing("Hung", time.Now(), "server", follower.Name, "cluster", "production"),
		"hung-server", responder.ResultDone, "Without "+follower.Name)
	called, _ := os.ReadFile(ran)
	if want := "restart@" + follower.Name + " sudo systemctl restart consul"; !strings.Contains(string(called), want) ||
		!strings.Contains(done.Output, "yes") {
		t.Errorf("the hook called ssh with %q, and printed %q; want %q, and that the check says yes",
			called, done.Output, want)
	}
	history := must.Get(os.ReadFile(r.History))(t)
	if strings.Contains(string(history)+r.Log.String(), "s3cret") || strings.Contains(string(history), token) {
		t.Errorf("the history or the log has an argument of the hook, or the token:\n%s", history)
	}
}
