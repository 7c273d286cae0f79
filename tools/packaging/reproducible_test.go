// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Two builds in two folders have the same bytes. The second one has an empty cache, so that it takes nothing over
// from the first.
func TestReproducible(t *testing.T) {
	one, other := copyTree(t, func(string, bool) bool { return false }), t.TempDir()
	must(t, os.CopyFS(other, os.DirFS(one)))
	var first []byte
	for dir, env := range map[string][]string{one: nil, other: {"GOCACHE=" + t.TempDir()}} {
		command(t, dir, env, "make", append([]string{"build"}, buildOf...)...)
		file := filepath.Join(dir, "consul_cluster_exporter")
		expectVersion(t, file)
		binary := get(os.ReadFile(file))(t)
		if bytes.Contains(binary, []byte(dir)) {
			t.Errorf("the binary names the folder in which it was built")
		}
		if first == nil {
			first = binary
		} else if !bytes.Equal(first, binary) {
			t.Errorf("two builds differ: %d and %d bytes", len(first), len(binary))
		}
	}
}
