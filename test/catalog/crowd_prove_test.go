// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package catalog_test

import (
	"testing"
	"time"
)

// TestProveCrowd is TestCrowd with a catalog of 25,000 instances, for three minutes. It needs a machine that does
// nothing else: three servers, the exporter and the crowd share its cores.
func TestProveCrowd(t *testing.T) {
	crowd(t, startWithCatalog(t, catalogOf(5_000, 25_000)), 25_000, 3*time.Minute)
}
