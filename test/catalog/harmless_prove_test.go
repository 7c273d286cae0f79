// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package catalog_test

import (
	"os"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// TestProveCatalogStress is TestCatalogStress for as long as PROVE_CATALOG_STRESS says, three minutes by default.
// Reading all nodes at once, members or not, kills the server within 30 to 190 s.
func TestProveCatalogStress(t *testing.T) {
	long := 3 * time.Minute
	if text := os.Getenv("PROVE_CATALOG_STRESS"); text != "" {
		long = must.Get(time.ParseDuration(text))(t)
	}
	stressCatalog(t, long)
}
