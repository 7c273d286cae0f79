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
	// manySeries is from how many series on a scrape leaves garbage behind that is worth a collection of its own, some
	// megabytes.
	manySeries = 10_000
	// deliveryTime is how long the end of the answer may take to be on its way, so that the collection holds up nothing.
	deliveryTime = 100 * time.Millisecond
	// reserveBytes is about what a scrape of 5,000 service instances allocates.
	reserveBytes = 24 << 20
	// minReserveLimit is from which memory limit on there is room for it.
	minReserveLimit = 10 * reserveBytes
)

// reserve is memory that nobody writes to, so that the kernel gives none for it, but that counts as in use. Without
// it the heap, a few megabytes between large scrapes, would be collected again and again while each of them makes it
// grow. Small clusters have none: it would only let their garbage pile up. Nor has an exporter whose memory is
// limited (GOMEMLIMIT) to less than some ten times as much: the reserve counts there, too, and would take the memory
// from the scrapes.
var reserve = sync.OnceValue(newReserve)

func newReserve() []byte {
	if debug.SetMemoryLimit(-1) < minReserveLimit { // Asks, and changes nothing.
		return nil
	}
	return make([]byte, reserveBytes)
}

// tidyUp collects the garbage of a large scrape when it is delivered and nobody waits. The next one then begins with
// an empty heap: it is not slowed down by a collection, and the most memory that is in use is that of one scrape, not
// of two.
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
