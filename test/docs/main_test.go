// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package docs_test holds documents, examples and workflows to the code.
package docs_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
