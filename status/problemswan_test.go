// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// A server may be missing from the WAN pool for five minutes.
func TestServerWANMissing(t *testing.T) {
	t.Parallel()
	for minutes, want := range map[time.Duration]string{
		4: "",
		7: "server-3 has a WAN port and has been missing from the WAN pool for 7m0s: other datacenters cannot reach it.",
	} {
		f := healthy()
		f.WANMissing = map[string]time.Time{"server-3": f.Start.Add(-minutes * time.Minute)}
		if got := textOf(f, "ConsulServerWANMissing"); got != want {
			t.Errorf("after %d minutes: %q; want %q", minutes, got, want)
		}
	}
}

// DNS that answers with at most so many addresses (a_record_limit) names no fewer servers than it may.
func TestDNSFewerServers_Limit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		own, asked int // The limits of the server, 0 for none, and of the agent that was asked.
		told       bool
		answers    int
		lacks      bool
	}{
		{"no limit", 0, 0, true, 2, true},
		{"limited to one", 1, 0, true, 1, false},
		{"limited to two, and names one", 2, 0, true, 1, true},
		{"the limit of the asked agent is not its own", 0, 1, true, 1, true},
		{"it says nothing about itself", 0, 1, false, 1, false},
	} {
		f := healthy()
		f.Agent = &cluster.Agent{Name: "server-1", Server: true, DNSRecordLimit: tc.asked}
		if tc.told {
			f.ServerAgents = map[string]cluster.Agent{two.ID: {DNSRecordLimit: tc.own}}
		}
		f.Ports = append(f.Ports, dns(two, tc.answers))
		if got := textOf(f, "ConsulDNSFewerServers"); (got != "") != tc.lacks {
			t.Errorf("%s: problem %q; want one: %v", tc.name, got, tc.lacks)
		}
	}
}

// textOf returns the text of the problem with this alert, if there is one.
func textOf(f *status.Facts, alert string) string {
	for _, p := range f.View().Problems {
		if p.Alert == alert {
			return p.Text
		}
	}
	return ""
}
