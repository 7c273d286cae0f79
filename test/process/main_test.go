// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package process_test has the tests of the program on its host: its files, flags, environment, signals, limits, log
// and web server.
package process_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
