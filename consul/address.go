// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Address is a parsed --consul.server: where an agent's HTTP API is.
type Address struct {
	// Scheme is "http" or "https".
	Scheme string
	// Host is "host:port" as given; "localhost" for a unix socket.
	Host string
	// Path is the prefix of a reverse proxy, or empty.
	Path string
	// Socket is the path of a unix socket, or empty.
	Socket string
}

// ParseAddress reads an address as consul_exporter and Consul's own CLI take it: a URL with scheme http, https or
// unix, or a bare host:port. Its errors have nothing of what was written, unlike those of net/url: it may hold a
// password.
func ParseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return Address{}, errors.New("no absolute path of a socket; want unix:///path/to/socket")
		}
		return Address{Scheme: "http", Host: "localhost", Socket: path}, nil
	}
	uri := s
	if !strings.Contains(uri, "://") {
		uri = "http://" + uri
	}
	if strings.Contains(uri, "@") { // Wherever: with a slash in it, a password would look like a path.
		return Address{}, errors.New("user and password do not belong in the URL; put user:password into CONSUL_HTTP_AUTH")
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return Address{}, errors.New("not a URL; want for example http://localhost:8500")
	case u.Scheme != "http" && u.Scheme != "https":
		return Address{}, fmt.Errorf("the scheme is %q; want http, https or unix", u.Scheme)
	case u.Hostname() == "":
		return Address{}, errors.New("no host; want for example http://localhost:8500")
	case u.RawQuery != "" || u.Fragment != "":
		return Address{}, errors.New("a query or a fragment is not allowed; want only scheme, host, port and path")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return Address{}, errors.New("the port is not a number from 1 to 65535")
		}
	}
	return Address{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, nil
}

// ParseAddresses reads one address or several. Its errors say which of them is wrong.
func ParseAddresses(texts []string) ([]Address, error) {
	var all []Address
	var problems []error
	for i, text := range texts {
		address, err := ParseAddress(text)
		switch {
		case err != nil && len(texts) > 1:
			err = fmt.Errorf("address %d of %d: %w", i+1, len(texts), err)
		case address.Socket != "" && len(texts) > 1:
			err = fmt.Errorf("address %d of %d: a unix socket has to be the only address", i+1, len(texts))
		}
		problems = append(problems, err)
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all, errors.Join(problems...)
}

// String returns the address as it can be parsed.
func (a Address) String() string {
	if a.Socket != "" {
		return "unix://" + a.Socket
	}
	return a.Scheme + "://" + a.Host + a.Path
}

// Hostname is the host without its port.
func (a Address) Hostname() string {
	if host, _, err := net.SplitHostPort(a.Host); err == nil {
		return host
	}
	return strings.Trim(a.Host, "[]")
}

// Port is the port's number, by default that of the scheme.
func (a Address) Port() int {
	if _, port, err := net.SplitHostPort(a.Host); err == nil {
		n, _ := strconv.Atoi(port) // ParseAddress has checked it.
		return n
	}
	if a.Scheme == "https" {
		return 443
	}
	return 80
}

// On returns the same address on another host, for the API of another server of the same cluster.
func (a Address) On(host string) Address { return a.OnPort(host, a.Port()) }

// OnPort is On with another port.
func (a Address) OnPort(host string, port int) Address {
	return Address{Scheme: a.Scheme, Host: net.JoinHostPort(host, strconv.Itoa(port))}
}

// HostsOf returns the IP addresses of listeners, each of them once and without those on unix sockets.
func HostsOf(listeners []string) []string {
	hosts := []string{}
	for _, l := range listeners {
		if host := HostOf(l); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// HostOf returns the host of "tcp://host:port", or "".
func HostOf(listener string) string {
	_, address, _ := strings.Cut(listener, "://")
	host, _, err := net.SplitHostPort(address)
	if err != nil { // A path.
		return ""
	}
	return host
}

// IsUnspecified reports whether a host is 0.0.0.0 or ::.
func IsUnspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}

// IsLoopback reports whether a host is this one.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}
