// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

const (
	// MinScrapes is how many scrapes a size has at least: in its usual second a benchmark has but two or three of the
	// largest.
	MinScrapes = 15
	// InstancesPerNode is a guess at what is usual.
	InstancesPerNode = 25
)

// PeakMemory returns the most memory that the exporter has had resident so far, in bytes.
func PeakMemory(tb testing.TB, e *Exporter) float64 {
	tb.Helper()
	process := must.Get(procfs.NewProc(e.Cmd.Process.Pid))(tb)
	return float64(must.Get(process.NewStatus())(tb).VmHWM)
}

// Percentile returns the value below which so many of a hundred sorted ones are.
func Percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[len(sorted)*p/100]
}

// Milliseconds is a duration in them.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
