// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

const (
	// MinScrapes is how many scrapes a size has at least: in its usual second a benchmark has but two or three of the
	// largest.
	MinScrapes = 15
	// InstancesPerNode is a guess at what is usual.
	InstancesPerNode = 25
)

// SampleValue returns the value in a line of a scrape.
func SampleValue(b *testing.B, line string) float64 {
	b.Helper()
	line = strings.TrimSpace(line)
	value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
	Must(b, err)
	return value
}

// PeakMemory returns the most memory that the exporter has had resident so far, in bytes.
func PeakMemory(tb testing.TB, e *Exporter) float64 {
	tb.Helper()
	process, err := procfs.NewProc(e.Cmd.Process.Pid)
	Must(tb, err)
	status, err := process.NewStatus()
	Must(tb, err)
	return float64(status.VmHWM)
}

// Percentile returns the value below which so many of a hundred sorted ones are.
func Percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[len(sorted)*p/100]
}

// Milliseconds is a duration in them.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
