// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// lintExceptions are the complaints of promtool about names that have to stay, each with the reason.
var lintExceptions = map[string]string{
	"consul_serf_member_count": "a gauge by its nature: members in a state, not the observations of a histogram",
}

// promtool has nothing to say about the page of a real exporter, but for the exceptions.
func TestPromtool(t *testing.T) {
	promtool, err := toolbox.Path("promtool")
	must(t, err)
	c := consultest.Start(t, consultest.Options{Servers: 1})
	e := startExporter(t, nil, "--consul.server="+c.Servers[0].URL(), "--collector.sessions", "--kv.prefix=x")
	status, body, err := e.get(t.Context(), "/metrics", 10*time.Second)
	must(t, err)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	out, err := check.CombinedOutput()
	unused := make(map[string]bool)
	for name := range lintExceptions {
		unused[name] = true
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(line, " ")
		if _, ok := lintExceptions[name]; !ok {
			t.Errorf("promtool (%v) says: %s", err, line)
		}
		delete(unused, name)
	}
	for name := range unused {
		t.Errorf("promtool has nothing to say about %s any more", name)
	}
	if families := strings.Count(body, "\n# TYPE consul_"); families < 100 {
		t.Errorf("the page has %d families about Consul; want 100 at least", families)
	}
}
