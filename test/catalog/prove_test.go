// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package catalog_test

import (
	"cmp"
	"os"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestProveCatalogStress is TestCatalogStress for as long as PROVE_CATALOG_STRESS says, three minutes by default.
// Reading all nodes at once, members or not, kills the server within 30 to 190 s.
func TestProveCatalogStress(t *testing.T) {
	stressCatalog(t, must.Get(time.ParseDuration(cmp.Or(os.Getenv("PROVE_CATALOG_STRESS"), "3m")))(t))
}

// TestProveCrowd is TestCrowd with a catalog of 25,000 instances, for three minutes. It needs a machine that does
// nothing else: three servers, the exporter and the crowd share its cores.
func TestProveCrowd(t *testing.T) {
	crowd(t, harness.StartWithCatalog(t, harness.CatalogOf(5_000, 25_000)), 25_000, 3*time.Minute)
}
