// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// figureAttr is the key of the attributes of tests that are figures of the result.
const figureAttr = "figure"

const seedVariable = "PROVE_SEED"

// Record puts a figure into the result, such as "scrapes: 200". Tests report what they have counted and measured, so
// that the result shows how much was tried. The value must fit in one line.
func Record(tb testing.TB, what string, value any) {
	tb.Helper()
	tb.Attr(figureAttr, what+": "+fmt.Sprint(value))
}

// Random returns a source of random numbers with the seed of this run, which is in the result and in the log of the
// test: `make prove PROOF=NAME SEED=N` repeats it. A test that is not run by `make prove` gets its own seed, or
// that of PROVE_SEED.
func Random(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("%s: %v", seedVariable, err)
		}
	}
	tb.Logf("%s=%d", seedVariable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}
