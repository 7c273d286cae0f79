// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e && stack

package stack_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestE2EAlerts makes the faults that need the packet filter.
func TestE2EAlerts(t *testing.T) {
	harness.RequireNamespace(t)
	markPackets(t)
	play(t, firewallFaults)
}

// TestE2ERealTime is TestAlertsRealTime with the faults that need the packet filter.
func TestE2ERealTime(t *testing.T) {
	harness.RequireNamespace(t)
	markPackets(t)
	proveRealTime(t, realFirewallActs)
}
