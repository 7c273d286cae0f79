// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package outage_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/proof"
)

// TestProveLeavesNoTrace plays each configuration of the table by itself, at length.
func TestProveLeavesNoTrace(t *testing.T) {
	b := burden{scrapes: 200, checks: 20}
	leaveNoTrace(t, b, 4)
	proof.Record(t, "configurations", len(quietTable))
	proof.Record(t, "scrapes of each", b.scrapes)
	proof.Record(t, "runs of the command check in each", b.checks)
}
