// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package catalog_test has the tests of catalogs: what is exported of them, how it compares with consul_exporter,
// that it does no harm, and how fast it is.
package catalog_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
