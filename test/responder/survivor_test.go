// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package responder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A hook runs on when its responder is killed with SIGKILL. The next one waits for it, and starts no other meanwhile.
func TestResponder_HookOutlives(t *testing.T) {
	t.Parallel()
	c := harness.StartCalm(t, consultest.Options{Servers: 3})
	ran := filepath.Join(t.TempDir(), "ran")
	hook := harness.Script(t, "echo begun >> "+ran+"; sleep 8; echo ended >> "+ran)
	r := harness.StartResponder(t, c.Servers[0].URL(), 3, fmt.Sprintf(`
  - name: hook
    cluster: any
    matchers: [alertname="Hook"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 1000
    action: {exec: {command: %s, timeout: 5m}}
`, hook))
	follower := harness.Others(c, harness.LeaderOf(t, c))[0]
	has := func(want string) bool {
		content, _ := os.ReadFile(ran)
		return string(content) == want
	}
	r.Deliver(t, harness.Firing("Hook", time.Now(), "server", follower.Name, "round", "1"))
	harness.WaitTrue(t, "the hook to run", func() bool { return has("begun\n") })
	r.Kill(t)
	r = r.Start()
	second := harness.Firing("Hook", time.Now(), "server", follower.Name, "round", "2")
	r.Decided(t, second, "hook", responder.ResultRefused, "A program from before a restart is under way")
	harness.WaitTrue(t, "the hook to run once more", func() bool {
		r.Deliver(t, second)
		return has("begun\nended\nbegun\n") || has("begun\nended\nbegun\nended\n")
	})
	records := must.Get(os.ReadFile(r.History))(t)
	t.Logf("the history is\n%s", records)
	if unknown := r.Records(t, "result", "unknown"); len(unknown) != 1 || unknown[0].Process == nil {
		t.Errorf("%+v; want the first action, with its process", unknown)
	}
}
