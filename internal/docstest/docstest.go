// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package docstest is for tests that hold documents to what the code does.
package docstest

import (
	"os"
	"strings"
	"testing"
)

// Says fails for each sentence that a document does not have. The sentences are by the document's path; how their lines are broken does not
// matter.
func Says(tb testing.TB, documents map[string][]string) {
	tb.Helper()
	for path, sentences := range documents {
		content, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(content)), " ")
		for _, sentence := range sentences {
			if !strings.Contains(text, sentence) {
				tb.Errorf("%s does not say: %s", path, sentence)
			}
		}
	}
}
