// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// What is in the file is used at once, unless it is not what it should be: then what was there before is, and the
// error is reported once. It names the file, and has nothing of what is in it.
func TestSecretFiles(t *testing.T) {
	t.Parallel()
	keys := func(path string, onError func(error)) (func() string, error) {
		f, err := NewKeyFile(path, onError)
		return func() string {
			var texts []string
			for _, key := range f.Keys() {
				texts = append(texts, string(key[:1]))
			}
			return strings.Join(texts, " ")
		}, err
	}
	token := func(path string, onError func(error)) (func() string, error) {
		f, err := NewTokenFile(path, onError)
		return f.Token, err
	}
	a, b, c, short := encodedKey('a', 32), encodedKey('b', 32), encodedKey('c', 16), encodedKey('s', 8)
	for _, tc := range []struct {
		name                             string
		open                             func(path string, onError func(error)) (func() string, error)
		first, second, third             string // What is in the file.
		wantFirst, wantSecond, wantThird string // What is used.
		wrong, wrongMessage              string
	}{
		{"keys", keys, a, b + "\n" + a, c, "a", "b a", "c", short, "holds as its key 1"},
		{"token", token, "first\n", "second", "third", "first", "second", "third", "two tokens", "something else"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "file")
			var errs []error
			onError := func(err error) { errs = append(errs, err) }
			_, err := tc.open(path, onError)
			expectError(t, err, "no such file")
			must.Do(t, os.WriteFile(path, []byte(tc.wrong), 0o600))
			_, err = tc.open(path, onError)
			expectError(t, err, "file "+path+" holds")
			expectError(t, err, tc.wrongMessage)

			must.Do(t, os.WriteFile(path, []byte(tc.first), 0o600))
			value := must.Get(tc.open(path, onError))(t)
			for _, step := range []struct {
				content, want string
				errs          int
			}{
				{tc.first, tc.wantFirst, 0},
				{tc.second, tc.wantSecond, 0}, // In the same second when rotated by a script.
				{"", tc.wantSecond, 1},        // For a moment while it is rotated.
				{"", tc.wantSecond, 1},
				{tc.wrong, tc.wantSecond, 1},
				{tc.third, tc.wantThird, 1},
			} {
				must.Do(t, os.WriteFile(path, []byte(step.content), 0o600))
				if got := value(); got != step.want || len(errs) != step.errs {
					t.Errorf("%q is used after errors %v; want %q and %d errors", got, errs, step.want, step.errs)
				}
			}
			must.Do(t, os.Remove(path))
			if got := value(); got != tc.wantThird || len(errs) != 2 {
				t.Errorf("%q is used of a file that is gone, after errors %v; want 2", got, errs)
			}
			for _, err := range append(errs, err) {
				if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("error %q; want one with the path and without what is in the file", err)
				}
			}
		})
	}
}
