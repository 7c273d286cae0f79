// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && prove

package netns_test

import (
	"flag"
	"testing"
	"time"
)

var chaosTime = flag.Duration("chaos", 30*time.Minute, "how long TestProveResponderChaos breaks its cluster")

// While servers, networks, disk, clock, Alertmanagers and the responder itself fail, the responder with all actions
// enabled does nothing that lowers a proven quorum, nothing twice, and nothing without a record.
func TestProveResponderChaos(t *testing.T) {
	c := startChaos(t)
	c.run(*chaosTime)
	c.expect()
	for _, action := range []string{"exec", "remove-dead-peer", "transfer-leadership", "notify"} {
		if c.counts[action+": done"] == 0 {
			t.Errorf("%s was never done", action)
		}
	}
}
