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

// Where memory is limited to little there is no ballast.
func TestBallast(t *testing.T) { // Not parallel: the limit is that of the process.
	before := debug.SetMemoryLimit(minBallastLimit - 1)
	defer debug.SetMemoryLimit(before)
	if n := len(newBallast()); n != 0 {
		t.Errorf("%d bytes of ballast under a limit of %d; want none", n, minBallastLimit-1)
	}
	debug.SetMemoryLimit(minBallastLimit)
	if n := len(newBallast()); n != ballastBytes {
		t.Errorf("%d bytes of ballast under a limit of %d; want %d", n, minBallastLimit, ballastBytes)
	}
}
