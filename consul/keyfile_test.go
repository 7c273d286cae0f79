// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func encodedKey(fill byte, n int) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(fill)), n)))
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	a, b, c := encodedKey('a', 32), encodedKey('b', 16), encodedKey('c', 24)
	for _, tc := range []struct {
		name, content string
		want          []string // The keys.
		wantErr       string
	}{
		{name: "one", content: a + "\n", want: []string{strings.Repeat("a", 32)}},
		{name: "one without an end of line", content: a, want: []string{strings.Repeat("a", 32)}},
		{
			name: "several", content: "\n" + a + "\r\n\n  " + b + "\n" + c + "\n",
			want: []string{strings.Repeat("a", 32), strings.Repeat("b", 16), strings.Repeat("c", 24)},
		},
		{
			name: "Consul's keyring", content: "[\n  \"" + a + "\",\n  \"" + b + "\"\n]",
			want: []string{strings.Repeat("a", 32), strings.Repeat("b", 16)},
		},
		{name: "empty", content: " \n\n", wantErr: "holds no key"},
		{name: "empty keyring", content: "[]", wantErr: "holds no key"},
		{name: "torn keyring", content: `["` + a + `"`, wantErr: "begins like a JSON list and is none of texts"},
		{name: "keyring of numbers", content: "[1]", wantErr: "begins like a JSON list and is none of texts"},
		{name: "no base64", content: a + "\nhush hush\n", wantErr: "holds as its key 2 something else than base64"},
		{
			name: "wrong length", content: encodedKey('x', 31),
			wantErr: "holds as its key 1 one of 31 bytes; want 16, 24 or 32",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			keys, err := parseKeys([]byte(tc.content))
			if tc.wantErr != "" {
				if err == nil || err.Error() != tc.wantErr {
					t.Errorf("got error %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range keys {
				got = append(got, string(key))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("keys differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewKeyFile(path, nil); err == nil {
		t.Error("no error for a missing file")
	}
	write("junk")
	_, err := NewKeyFile(path, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "key file "+path+" holds as its key 1") {
		t.Errorf("got error %v for junk, want one with the path", err)
	}
	write(encodedKey('a', 32))
	var errs []error
	f, err := NewKeyFile(path, func(err error) { errs = append(errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	expect := func(wantKeys int, wantFirst byte, wantErrs int) {
		t.Helper()
		keys := f.Keys()
		if len(keys) != wantKeys || keys[0][0] != wantFirst || len(errs) != wantErrs {
			t.Errorf("got %d keys, errors %v; want %d keys, the first of %q, and %d errors", len(keys), errs, wantKeys,
				wantFirst, wantErrs)
		}
	}
	expect(1, 'a', 0)
	write(encodedKey('b', 32) + "\n" + encodedKey('a', 32)) // The same second when rotated by a script.
	expect(2, 'b', 0)
	write("")
	expect(2, 'b', 1)
	expect(2, 'b', 1) // Said once.
	write(encodedKey('s', 8))
	expect(2, 'b', 1)
	write(encodedKey('c', 16))
	expect(1, 'c', 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(1, 'c', 2)
	for _, err := range errs {
		if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), encodedKey('s', 8)) {
			t.Errorf("got error %q, want one with the path and without a key", err)
		}
	}
}
