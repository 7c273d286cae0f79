// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewTokenFile(path, nil); err == nil {
		t.Error("no error for a missing file")
	}
	write("first\n")
	var errs []error
	f, err := NewTokenFile(path, func(err error) { errs = append(errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string, wantErrs int) {
		t.Helper()
		if got := f.Token(); got != want || len(errs) != wantErrs {
			t.Errorf("token %q after errors %v; want %q and %d errors", got, errs, want, wantErrs)
		}
	}
	expect("first", 0)
	write("second")
	expect("second", 0)
	write("")
	expect("second", 1) // Empty for a moment while it is rotated.
	expect("second", 1) // Said once.
	write("two tokens")
	expect("second", 1)
	write("third")
	expect("third", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("third", 2)
	for _, err := range errs {
		if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "second") {
			t.Errorf("error %q; want one with the path and without a token", err)
		}
	}
}
