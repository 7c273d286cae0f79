// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
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
	if margin := whole.Sub(early); refusalMemory != 5*time.Minute || margin != 250*time.Millisecond {
		t.Errorf("refusals are remembered for %s, and the margin is %s: look for the figure in the documents, and then here", refusalMemory, margin)
	}
	for path, sentences := range map[string][]string{
		"../README.md":            {"is asked for again only after five minutes or with a new token"},
		"../docs/architecture.md": {"a quarter of a second before the deadline", "five minutes, give or take a fifth"},
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(content)), " ")
		for _, sentence := range sentences {
			if !strings.Contains(text, sentence) {
				t.Errorf("%s does not say any more: %s", path, sentence)
			}
		}
	}
}
