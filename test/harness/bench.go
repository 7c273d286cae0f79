// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// MinScrapes is how many scrapes a size has at least: in its usual second a benchmark has but two or three of the
// largest.
const MinScrapes = 15

// CatalogOf is a catalog on as many nodes as may be usual.
func CatalogOf(services, instances int) consultest.Catalog {
	return consultest.Catalog{Nodes: instances / 25, Services: services, Instances: instances}
}

// StartWithCatalog starts three servers with this in their catalog.
func StartWithCatalog(tb testing.TB, catalog consultest.Catalog) *consultest.Cluster {
	tb.Helper()
	c := consultest.Start(tb, consultest.Options{Servers: 3})
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	must.Do(tb, c.LoadCatalog(ctx, catalog))
	must.Do(tb, c.WaitSynced(ctx)) // So that the agents do not do so later.
	return c
}

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
