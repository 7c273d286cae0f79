// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// The garbage of large scrapes is collected, and only that.
func TestTidyUp(t *testing.T) { // Not parallel: no other test may collect meanwhile.
	collections := func() uint32 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.NumForcedGC
	}
	before := collections()
	tidyUp(manyFamilies(manySeries - 1))
	<-time.After(2 * deliveryTime)
	if after := collections(); after != before {
		t.Errorf("%d collections after a small scrape; want none", after-before)
	}
	tidyUp(manyFamilies(manySeries/2, manySeries/2))
	for deadline := time.Now().Add(10 * time.Second); collections() == before; {
		if time.Now().After(deadline) {
			t.Fatal("no collection after a large scrape")
		}
		<-time.After(deliveryTime)
	}
}

// Where memory is limited to little there is no reserve.
func TestReserve(t *testing.T) { // Not parallel: the limit is that of the process.
	before := debug.SetMemoryLimit(minReserveLimit - 1)
	defer debug.SetMemoryLimit(before)
	if n := len(newReserve()); n != 0 {
		t.Errorf("%d bytes of reserve under a limit of %d; want none", n, minReserveLimit-1)
	}
	debug.SetMemoryLimit(minReserveLimit)
	if n := len(newReserve()); n != reserveBytes {
		t.Errorf("%d bytes of reserve under a limit of %d; want %d", n, minReserveLimit, reserveBytes)
	}
}
