// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/docstest"
)

// The figures about pages in the documents are those of the code.
func TestDocsFigures(t *testing.T) {
	t.Parallel()
	if keptMax != 1000 || keptIdle != time.Hour || statusInterval != 5*time.Second || minBudget >= time.Second {
		t.Error("a figure has changed: look for it in the documents, and then here")
	}
	docstest.Says(t, map[string][]string{
		"../docs/deployment.md":      {"of up to 1,000 targets, each for an hour", "One exporter keeps up to 1,000 targets of `/probe`, each for an hour"},
		"../docs/troubleshooting.md": {"more than 1,000 targets are probed at one time"},
		"../README.md":               {"is asked once in five seconds"},
	})
}
