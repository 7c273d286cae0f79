// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/docstest"
)

// The figures about asking Consul in the documents are those of the code.
func TestDocsFigures(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	facts, cancelFacts := WithMargin(ctx)
	defer cancelFacts()
	whole, _ := ctx.Deadline()
	early, _ := facts.Deadline()
	if margin := whole.Sub(early); refusalWaits[0] != 5*time.Minute || unknownTokenWaits[0] != 10*time.Second || margin != 250*time.Millisecond {
		t.Errorf("refusals are remembered for %s, unknown tokens for %s, and the margin is %s: look for the figure in the documents, and then here", refusalWaits[0], unknownTokenWaits[0], margin)
	}
	docstest.Says(t, map[string][]string{
		"../README.md":            {"then an hour, then six, or until the token or the agent's configuration changes"},
		"../docs/architecture.md": {"a quarter of a second before the deadline", "five minutes, then an hour, six hours and a day", "a token that the server does not know, which it may soon: ten seconds at first"},
	})
}
