// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestTurnedAway is about healthy clusters that do not let the exporter in to port 8300: it is told what to set, and
// nothing is said about Consul that is not so.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	onlyRPC := map[string]any{"verify_incoming": false}
	c := consultest.Start(t, consultest.Options{
		TLS: true, CertLifetime: 90 * 24 * time.Hour,
		Config: map[string]any{"tls": map[string]any{"https": onlyRPC, "grpc": onlyRPC}},
	})
	harness.Settle(t, c)
	other := consultest.NewCertificates(t)
	ca := "--consul.ca-file=" + c.CACert
	for _, tc := range []struct {
		name, reason, remedy string
		flags                []string
	}{
		{"wrong name", "name", "--rpc.server-name", append(harness.TLSFlags(c), "--rpc.server-name=client.dc1.consul")},
		{"no client certificate", "client_certificate", "--rpc.cert-file", []string{ca}},
		{
			"certificate of another authority", "client_certificate", "--rpc.cert-file",
			[]string{ca, "--rpc.ca-file=" + c.CACert, "--rpc.cert-file=" + other.Cert, "--rpc.key-file=" + other.Key},
		},
		{
			"another authority", "tls", "--rpc.ca-file",
			append(harness.TLSFlags(c), "--rpc.ca-file="+other.CACert),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{serverFlag(c.Servers[0])}, tc.flags...)
			e := harness.StartExporter(t, nil, args...)
			want := harness.Samples{
				`consul_cluster_quorum_state{state="held"}`: 1, `consul_cluster_voters_state{state="unknown"}`: 3,
				`consul_cluster_voters_state{state="lost"}`: 0, "consul_cluster_consistent_read_success": 1,
			}
			for _, a := range c.Servers {
				want[harness.PortSeries("turned_away", a, fmt.Sprintf("reason=%q", tc.reason))] = 1
			}
			// The question is not repeated, and what was the answer is not forgotten.
			for range 2 {
				e.Await(t, want, "consul_cluster_failure_margin", "consul_cluster_leaders")
			}

			code, stdout, stderr := harness.CheckOf(t, c.Servers[0], append(tc.flags, "--output=json")...)
			var view status.View
			if err := json.Unmarshal([]byte(stdout), &view); err != nil {
				t.Fatalf("check printed %q, %s: %v", stdout, stderr, err)
			}
			if code != cli.ExitDegraded || view.Quorum.State != "held" || !strings.Contains(view.Verdict, tc.remedy) {
				t.Errorf("check ended with %d and the quorum %s: %s", code, view.Quorum.State, view.Verdict)
			}
			for _, p := range view.Problems {
				if p.Severity == status.Critical {
					t.Errorf("a healthy cluster has the problem %s: %s", p.Alert, p.Text)
				}
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}
}
