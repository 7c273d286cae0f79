// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	// manySeries is the number of series whose garbage, some megabytes, is worth a collection.
	manySeries = 10_000
	// deliveryTime is how long the end of the answer may take, so that the collection delays nothing.
	deliveryTime = 100 * time.Millisecond
	// reserveBytes is about what a scrape of 5,000 service instances allocates.
	reserveBytes = 24 << 20
	// minReserveLimit is from which memory limit on there is room for it.
	minReserveLimit = 10 * reserveBytes
)

// reserve is memory that is never written to, so that the kernel provides none, but that counts as in use. Without it
// the heap, a few megabytes between large scrapes, would be collected again and again while a scrape makes it grow.
// For small clusters it would only let garbage pile up. Under a memory limit (GOMEMLIMIT) below minReserveLimit it
// would take memory from the scrapes.
var reserve = sync.OnceValue(newReserve)

func newReserve() []byte {
	if debug.SetMemoryLimit(-1) < minReserveLimit { // Asks, and changes nothing.
		return nil
	}
	return make([]byte, reserveBytes)
}

// tidyUp collects the garbage of a large scrape after its delivery. The next one begins with an empty heap, is not
// slowed down by a collection, and memory peaks at one scrape instead of two.
func tidyUp(families []*dto.MetricFamily) {
	series := 0
	for _, f := range families {
		series += len(f.Metric)
	}
	if series >= manySeries {
		reserve() // Before the collection: what that frees was written to.
		time.AfterFunc(deliveryTime, runtime.GC)
	}
}
