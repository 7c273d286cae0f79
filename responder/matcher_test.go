// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"strings"
	"testing"
)

func TestMatcher(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"alertname": "ConsulServerHung", "server": "a\"b\nc", "empty": ""}
	for _, tc := range []struct {
		matcher string
		want    bool
	}{
		{`alertname="ConsulServerHung"`, true},
		{`alertname=ConsulServerHung`, true},
		{` alertname  =  "ConsulServerHung" `, true},
		{`alertname="ConsulServer"`, false},
		{`alertname!="ConsulServer"`, true},
		{`alertname!="ConsulServerHung"`, false},
		{`alertname=~"ConsulServer(Hung|Down)"`, true},
		{`alertname=~"ConsulServer"`, false}, // It is anchored.
		{`alertname=~"Server"`, false},
		{`alertname=~".+"`, true},
		{`alertname!~"Consul.*"`, false},
		{`server="a\"b\nc"`, true},
		{`server=~"a.*c"`, true}, // A dot is a new line as well.
		{`server=~"a"`, false},
		{`alertname=~"Consul\w+"`, true},
		{`alertname=~Consul\w+`, true},
		{`alertname=~"Consul\d+"`, false},
		{`missing=""`, true},
		{`missing!=""`, false},
		{`missing=~".+"`, false},
		{`empty=`, true},
		{`alertname=~"a|ConsulServerHung"`, true},
	} {
		m, err := parseMatcher(tc.matcher)
		if err != nil {
			t.Errorf("%s: %v", tc.matcher, err)
		} else if got := m.matches(labels); got != tc.want {
			t.Errorf("%s matches: %v; want %v", tc.matcher, got, tc.want)
		}
	}
	for _, tc := range []struct{ matcher, want string }{
		{"", "is no matcher"},
		{"alertname", "is no matcher"},
		{`="a"`, "is no matcher"},
		{`a-b="c"`, "is no matcher"},
		{`a=="b`, "quotes"},
		{`a="b`, "quotes"},
		{`a=b"`, "quotes"},
		{`a="b"c"`, "quotes"},
		{`a="b\"`, "quotes"},
		{`a=~"("`, "no good regular expression"},
	} {
		if _, err := parseMatcher(tc.matcher); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v; want %s", tc.matcher, err, tc.want)
		}
	}
}
