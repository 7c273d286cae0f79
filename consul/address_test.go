// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text     string
		want     Address
		written  string // As the address writes itself.
		hostname string
	}{
		{"http://localhost:8500", Address{Scheme: "http", Host: "localhost:8500"}, "http://localhost:8500", "localhost"},
		{"consul.example", Address{Scheme: "http", Host: "consul.example"}, "http://consul.example", "consul.example"},
		{"10.0.0.1:8500", Address{Scheme: "http", Host: "10.0.0.1:8500"}, "http://10.0.0.1:8500", "10.0.0.1"},
		{
			"https://[fd00::1]:8501/consul/",
			Address{Scheme: "https", Host: "[fd00::1]:8501", Path: "/consul"},
			"https://[fd00::1]:8501/consul", "fd00::1",
		},
		{"https://[fd00::1]", Address{Scheme: "https", Host: "[fd00::1]"}, "https://[fd00::1]", "fd00::1"},
		{
			"unix:///run/consul.sock",
			Address{Scheme: "http", Host: "localhost", Socket: "/run/consul.sock"},
			"unix:///run/consul.sock", "localhost",
		},
	} {
		got, err := ParseAddress(tc.text)
		if err != nil || got != tc.want || got.String() != tc.written || got.Hostname() != tc.hostname {
			t.Errorf("%s is %+v, written %s, on host %s, error %v; want %+v, %s, %s", tc.text, got, got, got.Hostname(), err,
				tc.want, tc.written, tc.hostname)
		}
		again, err := ParseAddress(got.String())
		if err != nil || again != got {
			t.Errorf("%s is read as %+v, error %v; want what wrote it, %+v", got, again, err, got)
		}
	}
	for text, want := range map[string]string{
		"ftp://localhost":      `scheme is "ftp"`,
		"http://:8500":         "no host",
		"http://[::1":          "not a URL",
		"http://u:p@localhost": "CONSUL_HTTP_AUTH",
		"http://localhost?x=1": "a query or a fragment",
		"http://localhost#x":   "a query or a fragment",
		"localhost:0":          "1 to 65535",
		"localhost:65536":      "1 to 65535",
		"unix://consul.sock":   "no absolute path",
	} {
		_, err := ParseAddress(text)
		expectError(t, err, want)
	}
}

func TestAddressOn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ server, host, want string }{
		{"localhost:8500", "10.0.0.1", "http://10.0.0.1:8500"},
		{"https://consul.example", "fd00::1", "https://[fd00::1]:443"},
		{"http://consul.example", "10.0.0.1", "http://10.0.0.1:80"},
		{"http://proxy.example:443/consul", "10.0.0.1", "http://10.0.0.1:443"}, // Never through the agent's proxy.
	} {
		on := must.Get(ParseAddress(tc.server))(t).On(tc.host)
		if got := on.String(); got != tc.want {
			t.Errorf("%s on %s is %s; want %s", tc.server, tc.host, got, tc.want)
		}
	}
}

func TestHostsOf(t *testing.T) {
	t.Parallel()
	got := HostsOf([]string{"tcp://127.0.0.1:8600", "udp://127.0.0.1:8600", "unix:///run/dns", "tcp://[::]:8600"})
	if !slices.Equal(got, []string{"127.0.0.1", "::"}) {
		t.Errorf("got %q; want each host once, and no socket", got)
	}
	for host, want := range map[string][2]bool{
		"0.0.0.0": {true, false}, "::": {true, false}, "127.0.0.2": {false, true}, "::1": {false, true},
		"localhost": {false, true}, "10.0.0.1": {}, "consul.example": {},
	} {
		if unspecified, loopback := IsUnspecified(host), IsLoopback(host); unspecified != want[0] || loopback != want[1] {
			t.Errorf("%s: unspecified %v, loopback %v; want %v", host, unspecified, loopback, want)
		}
	}
}
