// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		entries string // Separated by spaces.
		target  string
		want    string // Host and port; empty: an error.
		wantErr error
	}{
		{name: "address in a network", entries: "10.0.0.0/8", target: "10.1.2.3:8501", want: "10.1.2.3:8501"},
		{name: "default port", entries: "10.0.0.0/8", target: "10.1.2.3", want: "10.1.2.3:8500"},
		{name: "address outside", entries: "10.0.0.0/8", target: "11.1.2.3:8500", wantErr: ErrNotAllowed},
		{name: "network with a port", entries: "10.0.0.0/8:8500", target: "10.1.2.3:8500", want: "10.1.2.3:8500"},
		{name: "network with the default port", entries: "10.0.0.0/8:8500", target: "10.1.2.3", want: "10.1.2.3:8500"},
		{name: "another port", entries: "10.0.0.0/8:8500", target: "10.1.2.3:8501", wantErr: ErrNotAllowed},
		{name: "second entry", entries: "a 10.0.0.0/8:8500 10.0.0.0/8:8501", target: "10.1.2.3:8501", want: "10.1.2.3:8501"},
		{name: "single address", entries: "10.0.0.1", target: "10.0.0.1:1", want: "10.0.0.1:1"},
		{name: "next to a single address", entries: "10.0.0.1", target: "10.0.0.2", wantErr: ErrNotAllowed},
		{name: "everything IPv4", entries: "0.0.0.0/0", target: "1.2.3.4", want: "1.2.3.4:8500"},
		{name: "IPv6 is not IPv4", entries: "0.0.0.0/0", target: "[fd00::1]", wantErr: ErrNotAllowed},
		{name: "IPv6", entries: "[fd00::1]", target: "[fd00:0::1]:8501", want: "[fd00::1]:8501"},
		{name: "IPv6 network", entries: "[fd00::/8]", target: "[fdff::1]", want: "[fdff::1]:8500"},
		{name: "IPv6 network with a port", entries: "[fd00::/8]:8500", target: "[fdff::1]:8500", want: "[fdff::1]:8500"},
		{name: "IPv6 network with another port", entries: "[fd00::/8]:8500", target: "[fdff::1]:1", wantErr: ErrNotAllowed},
		{name: "IPv4 in IPv6", entries: "10.0.0.0/8", target: "[::ffff:10.0.0.1]:8500", want: "10.0.0.1:8500"},
		{name: "IPv4 in IPv6 outside", entries: "10.0.0.0/8 [::/1]", target: "[::ffff:127.0.0.1]", wantErr: ErrNotAllowed},
		{name: "IPv4 in IPv6 as an entry", entries: "[::ffff:10.0.0.1]", target: "10.0.0.1", want: "10.0.0.1:8500"},
		{name: "name", entries: "consul.example", target: "consul.example:8501", want: "consul.example:8501"},
		{name: "name in capitals", entries: "Consul.Example", target: "CONSUL.example", want: "consul.example:8500"},
		{name: "name with a dot", entries: "consul.example", target: "consul.example.:8500", want: "consul.example.:8500"},
		{name: "entry with a dot", entries: "consul.example.", target: "consul.example", want: "consul.example:8500"},
		{name: "another name", entries: "consul.example", target: "a.consul.example", wantErr: ErrNotAllowed},
		{name: "part of a name", entries: "consul.example", target: "consul.example.org", wantErr: ErrNotAllowed},
		{name: "name with a port", entries: "consul.example:8501", target: "consul.example:8500", wantErr: ErrNotAllowed},
		{name: "name is not resolved", entries: "127.0.0.0/8", target: "localhost", wantErr: ErrNotAllowed},
		{name: "address is not resolved", entries: "localhost", target: "127.0.0.1", wantErr: ErrNotAllowed},
		{name: "leading zeros in a port", entries: "a", target: "a:08500", want: "a:8500"},
		{name: "no list", entries: "", target: "10.0.0.1", wantErr: ErrNotAllowed},

		{name: "empty", entries: "0.0.0.0/0", target: "", wantErr: ErrTarget},
		{name: "no host", entries: "0.0.0.0/0", target: ":8500", wantErr: ErrTarget},
		{name: "no port behind the colon", entries: "a", target: "a:", wantErr: ErrTarget},
		{name: "port 0", entries: "a", target: "a:0", wantErr: ErrTarget},
		{name: "port too high", entries: "a", target: "a:65536", wantErr: ErrTarget},
		{name: "port with a sign", entries: "a", target: "a:+1", wantErr: ErrTarget},
		{name: "URL", entries: "a", target: "http://a:8500", wantErr: ErrTarget},
		{name: "path", entries: "a", target: "a:8500/v1", wantErr: ErrTarget},
		{name: "user", entries: "a", target: "user@a", wantErr: ErrTarget},
		{name: "query", entries: "a", target: "a?b", wantErr: ErrTarget},
		{name: "line break", entries: "a", target: "a\r\nb", wantErr: ErrTarget},
		{name: "two labels with nothing between", entries: "a", target: "a..b", wantErr: ErrTarget},
		{name: "IPv6 without brackets", entries: "[::/0]", target: "fd00::1", wantErr: ErrTarget},
		{name: "bracket that is not closed", entries: "[::/0]", target: "[fd00::1", wantErr: ErrTarget},
		{name: "junk behind the bracket", entries: "[::/0]", target: "[fd00::1]8500", wantErr: ErrTarget},
		{name: "IPv6 with a zone", entries: "[::/0]", target: "[fe80::1%lo]:8500", wantErr: ErrTarget},
		{name: "network", entries: "10.0.0.0/8", target: "10.0.0.0/8", wantErr: ErrTarget},
		{name: "short address", entries: "127.0.0.0/8", target: "127.1", wantErr: ErrTarget},
		{name: "decimal address", entries: "127.0.0.0/8", target: "2130706433", wantErr: ErrTarget},
		{name: "hexadecimal address", entries: "127.0.0.0/8", target: "0x7f000001", wantErr: ErrTarget},
		{name: "octal address", entries: "127.0.0.0/8", target: "0177.0.0.1", wantErr: ErrTarget},
		{name: "socket", entries: "a", target: "unix:///run/consul.sock", wantErr: ErrTarget},
	} {
		m := DefaultModule()
		m.Targets = strings.Fields(tc.entries)
		got, err := validModule(t, m).Target(tc.target)
		if !errors.Is(err, tc.wantErr) || (err == nil && got.String() != tc.want) {
			t.Errorf("%s: got %q, error %v; want %q, error %v", tc.name, got, err, tc.want, tc.wantErr)
		}
	}
}

// What a cluster names is bound by the list as its agent is.
func TestTarget_Options(t *testing.T) {
	t.Parallel()
	m := DefaultModule()
	m.Targets = []string{"127.0.0.1:8500", "[fd00::/8]"}
	valid := validModule(t, m)
	target := must.Get(valid.Target("127.0.0.1"))(t)
	allowed := target.Options().Ports.Allowed
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.2": false, "fd00::1": true, "fe80::1%lo": false, "localhost": false, "": false,
	} {
		if got := allowed(host); got != want {
			t.Errorf("allowed(%q) = %v, want %v", host, got, want)
		}
	}
	if valid.Options(consul.Address{}).Ports.Allowed != nil {
		t.Error("the list holds for an address that the operator has chosen")
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	list := func(entry string) allowList {
		a := must.Get(parseAllowed(entry))(t)
		return allowList{a}
	}
	address := listener.Addr().String()
	if _, err := fence(list("127.0.0.2"))(t.Context(), "tcp", address); !errors.Is(err, probe.ErrNotAllowed) {
		t.Errorf("got error %v, want %v", err, probe.ErrNotAllowed)
	}
	conn := must.Get(fence(list("127.0.0.1"))(t.Context(), "tcp", address))(t)
	conn.Close()
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		"a.example:8500", "[fd00::1]:8500", "10.0.0.1", "::", "[", "127.1", "a:b:c", "[::ffff:10.0.0.1]",
	} {
		f.Add(s)
	}
	m := DefaultModule()
	m.Targets = []string{"10.0.0.0/8:8500", "[fd00::/8]", "a.example"}
	valid, _ := m.Validate(nil)
	f.Fuzz(func(t *testing.T, s string) {
		target, err := valid.Target(s)
		if err != nil {
			return
		}
		host, _, err := net.SplitHostPort(target.String())
		if err != nil || !target.Options().Ports.Allowed(host) {
			t.Errorf("%q became %q, which is not allowed (%v)", s, target, err)
		}
		again, err := valid.Target(target.String())
		if err != nil || again.String() != target.String() {
			t.Errorf("%q became %q, and that %q (%v)", s, target, again, err)
		}
	})
}
