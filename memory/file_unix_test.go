// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package memory

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Nobody waits for somebody to write into a pipe.
func TestFile_Pipe(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	must.Do(t, syscall.Mkfifo(pipe, 0o600))
	for name, open := range map[string]func(string, Options) (*Memory, error){"Open": Open, "Read": Read} {
		if _, err := open(pipe, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s of a pipe: %v; want that it is not a regular file", name, err)
		}
	}
}
