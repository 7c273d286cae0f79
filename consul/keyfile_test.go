// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"encoding/base64"
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
	keyA, keyB, keyC := strings.Repeat("a", 32), strings.Repeat("b", 16), strings.Repeat("c", 24)
	for _, tc := range []struct {
		name, content string
		want          []string // The keys.
		wantErr       string
	}{
		{name: "one", content: a + "\n", want: []string{keyA}},
		{name: "one without an end of line", content: a, want: []string{keyA}},
		{name: "several", content: "\n" + a + "\r\n\n  " + b + "\n" + c + "\n", want: []string{keyA, keyB, keyC}},
		{name: "Consul's keyring", content: "[\n  \"" + a + "\",\n  \"" + b + "\"\n]", want: []string{keyA, keyB}},
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
			expectError(t, err, tc.wantErr)
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
