// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	// errBrackets means that an IPv6 address could be told from neither a name nor a port.
	errBrackets = errors.New("has a colon too many; IPv6 stands in brackets, and its port behind them, " +
		"as in [fd00::1]:8500 and [fd00::/8]:8500")
	// errHost means that a host is none.
	errHost = errors.New("is neither a host name nor an IP address nor a network such as 10.0.0.0/8")
)

// allowList says which hosts a module may be used for, and on which ports. The zero value allows none.
type allowList []allowed

// allowed is one entry of the list.
type allowed struct {
	// name is a host name in the form of canonicalName; empty if the entry is a network.
	name string
	// network is that of the entry; a single address is a network of one.
	network netip.Prefix
	// port is 0 for any.
	port uint16
}

// parseAllowed reads an entry: a host name, an IP address or a network in CIDR notation, each of them optionally with
// a port.
func parseAllowed(entry string) (allowed, error) {
	host, port, err := splitPort(entry)
	if err != nil {
		return allowed{}, fmt.Errorf("%q %w", entry, err)
	}
	a := allowed{port: port}
	if strings.Contains(host, "/") {
		network, err := netip.ParsePrefix(host)
		if err != nil || network.Addr().Is4In6() {
			return allowed{}, fmt.Errorf("%q %w", entry, errHost)
		}
		if network != network.Masked() {
			return allowed{}, fmt.Errorf("%q is an address in the network %s; want one or the other", entry, network.Masked())
		}
		a.network = network
		return a, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return allowed{}, fmt.Errorf("%q has a zone, which means something on one host only", entry)
		}
		addr = addr.Unmap()
		a.network = netip.PrefixFrom(addr, addr.BitLen())
		return a, nil
	}
	if !isName(host) {
		return allowed{}, fmt.Errorf("%q %w", entry, errHost)
	}
	a.name = canonicalName(host)
	return a, nil
}

// allows reports whether a host may be talked to on any of its ports. A name is compared with the names and an
// address with the networks: nothing is resolved.
func (l allowList) allows(host string) bool {
	return slices.ContainsFunc(l, func(a allowed) bool { return a.matches(host) })
}

// allowsPort reports whether the agent at this host and port may be asked.
func (l allowList) allowsPort(host string, port uint16) bool {
	return slices.ContainsFunc(l, func(a allowed) bool { return a.matches(host) && (a.port == 0 || a.port == port) })
}

func (a allowed) matches(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.name == "" && a.network.Contains(addr.Unmap())
	}
	return a.name != "" && a.name == canonicalName(host)
}

// splitPort takes a port off a host, which may also be a network; without a port it is 0. IPv6 must stand in brackets,
// because fd00::1:8500 is an address and means something else than its writer thinks.
func splitPort(s string) (host string, port uint16, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok := strings.Cut(rest, "]")
		if !ok || !strings.Contains(host, ":") || (rest != "" && rest[0] != ':') {
			return "", 0, errBrackets
		}
		if rest == "" {
			return host, 0, nil
		}
		port, err := parsePort(rest[1:])
		return host, port, err
	}
	host, text, ok := strings.Cut(s, ":")
	if !ok {
		return host, 0, nil
	}
	if strings.Contains(text, ":") {
		return "", 0, errBrackets
	}
	port, err = parsePort(text)
	return host, port, err
}

var errPort = errors.New("has a port that is no number from 1 to 65535")

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errPort
	}
	return uint16(n), nil
}

// isName reports whether s can be a host name. Names whose last label is a number, such as 127.1 and 0x7f000001, are
// not: some resolvers take them for addresses.
func isName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if !nameLabel.MatchString(label) {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 64) // Also takes hexadecimal, as resolvers do.
	return err != nil && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

var nameLabel = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// canonicalName is how names are compared: case does not matter, nor does the dot of a complete name.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
