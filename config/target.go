// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var (
	// ErrTarget means that a target has not the form of one.
	ErrTarget = errors.New("the target is malformed; want host or host:port, where the host is a name, " +
		"an IPv4 address or an IPv6 address in brackets")
	// ErrNotAllowed means that a target is not on the module's list.
	ErrNotAllowed = errors.New("the target is not one of those that the configuration file allows for this module")
)

// Target is an agent that a module may be used for.
type Target struct {
	module  *ValidModule
	address consul.Address
}

// Target checks an agent's address that comes from anyone: a host, which is compared with the list as it is, and
// optionally a port. It resolves nothing and reads no file. Its errors are for the one who asked, and have nothing of
// what was asked.
func (m *ValidModule) Target(text string) (Target, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return Target{}, ErrTarget
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return Target{}, ErrTarget
		}
		host = addr.Unmap().String()
	} else if !isName(host) {
		return Target{}, ErrTarget
	}
	if port == 0 {
		port = m.port
	}
	if !m.targets.allowsPort(host, port) {
		return Target{}, ErrNotAllowed
	}
	// The dot of a complete name stays, because it keeps the resolver from trying others.
	host = net.JoinHostPort(strings.ToLower(host), strconv.Itoa(int(port)))
	return Target{m, consul.Address{Scheme: m.written.Scheme, Host: host}}, nil
}

// String returns the target's host and port in the one form that all spellings of it have.
func (t Target) String() string { return t.address.Host }

// Collectors returns the names of the collectors to run.
func (t Target) Collectors() []string { return t.module.Collectors() }

// Settings returns what the collectors export.
func (t Target) Settings() collector.Settings { return t.module.Settings() }

// Options returns what a Cluster is made from whose agent is the target. Of the hosts that the cluster itself names,
// only those are talked to that the module's list has, whatever their port there: the list's ports are those of
// agents. A rogue agent could name any.
func (t Target) Options() cluster.Options {
	opts := t.module.Options(t.address)
	opts.Ports.Allowed = t.module.targets.allows
	// The cluster is to ask Allowed before it probes; this fence holds also where it should forget to.
	opts.Prober = probe.New(probe.Options{Dial: fence(t.module.targets)})
	return opts
}

// fence returns a dialer that reaches the hosts of the list only.
func fence(list allowList) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && !list.allows(host) {
			err = probe.ErrNotAllowed
		}
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		return descriptors.Dial(ctx, dialer, network, address, 0)
	}
}
