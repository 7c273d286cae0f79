// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/status"
)

// A server may be missing from the WAN pool for five minutes.
func TestServerWANMissing(t *testing.T) {
	t.Parallel()
	for lasts, want := range map[time.Duration]string{
		4 * time.Minute: "",
		7 * time.Minute: "server-3 has a WAN port and has been missing from the WAN pool for 7m0s: " +
			"other datacenters cannot reach it.",
	} {
		f := healthy()
		f.WANMissing = map[string]time.Time{"server-3": f.Start.Add(-lasts)}
		if got := textOf(f, "ConsulServerWANMissing"); got != want {
			t.Errorf("after %s: %q; want %q", lasts, got, want)
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
