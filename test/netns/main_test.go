// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package netns_test has the tests that need a network namespace of their own, for packet filters, IPv6 addresses and
// long series of faults.
package netns_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
