// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package redact

import "testing"

func TestText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, want string }{
		{"--consul.timeout: 0s is not above 0", "--consul.timeout: 0s is not above 0"},
		{`unexpected http://user:pa%ss@host`, `unexpected http://<redacted>@host`},
		{"unexpected http://user:pa ss\n@w@host/path", "unexpected http://<redacted>@host/path"},
		{`"http://user:p\"w@host:8500" and http://u:p@h2`, `"http://<redacted>@h2`},
		{`got 'user:pass@host'`, `got '<redacted>@host'`},
		{"mail someone@example.com", "mail someone@example.com"},
	} {
		if got := Text(tc.text); got != tc.want {
			t.Errorf("Text(%q) = %q; want %q", tc.text, got, tc.want)
		}
	}
}
