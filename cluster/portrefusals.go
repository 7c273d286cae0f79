// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/probe"
)

// refusedProbe returns the report of a port that refused the last probe and is not asked again yet.
func (c *Cluster) refusedProbe(port Port) (report PortReport, ok bool) {
	subject := port.subject()
	if !c.refusals.Remembers(subject) {
		return PortReport{}, false
	}
	err := c.refusals.Check(subject, port.credentials())
	switch {
	case err == nil:
		return PortReport{}, false
	case errors.Is(err, errGuessedWrong) && (!port.tentative || c.answered.ever(port)): // It is no guess any more.
		c.refusals.Forget(subject)
		return PortReport{}, false
	}
	return PortReport{Port: port, Result: probe.NotMade(fmt.Errorf("%w: %w", probe.ErrHeldBack, err))}, true
}

// noteProbe remembers what the server refused or may have misunderstood, and the gossip key that it acknowledged.
func (c *Cluster) noteProbe(report *PortReport) {
	port, res := report.Port, report.Result
	if res.Skipped {
		return
	}
	answered := c.answered.swap(port, res.Up)
	switch {
	case res.TurnedAway(), port.misunderstood(&res) && !answered:
		_ = c.refusals.Add(port.subject(), port.credentials(), res.Err)
	case res.Up:
		c.refusals.Forget(port.subject())
		if port.Serf.Encrypted && res.Verified {
			c.learnPoolKey(port.Protocol, port.Serf.Keys[0])
		}
	}
}

// misunderstood reports whether a port answered a doubtful question as a wrong one: by closing the connection, or not
// at all.
func (p Port) misunderstood(res *probe.Result) bool {
	if p.Transport == TransportUDP {
		return p.doubtful && res.Reason == probe.ReasonTimeout
	}
	return p.doubtful && (res.Reason == probe.ReasonLimit || res.Reason == probe.ReasonReset)
}

// answeredPorts are the ports whose last probe was answered: their question is not doubtful, and one failure is just
// that. It is safe for concurrent use.
type answeredPorts struct {
	mu    sync.Mutex
	ports map[string]bool // Guarded by mu: by Port.subject.
	// pools are those in which a server has answered a datagram: all of them take datagrams, or none. Guarded by mu.
	pools map[Protocol]bool
	// addresses are those at which anything has ever answered. Guarded by mu.
	addresses map[string]bool
}

// ever reports whether a probe of the port's address was ever answered, over whatever transport.
func (a *answeredPorts) ever(p Port) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addresses[p.Address]
}

// note notes that something has answered at an address.
func (a *answeredPorts) note(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.init()
	a.addresses[address] = true
}

// on returns the addresses on these hosts at which anything has ever answered, in order.
func (a *answeredPorts) on(hosts map[string]bool) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for address := range a.addresses {
		if host, _, _ := net.SplitHostPort(address); hosts[host] {
			all = append(all, address)
		}
	}
	slices.Sort(all)
	return all
}

// Answered are the addresses at which anything has ever answered, on the hosts of these servers and of all that are
// known from earlier scrapes.
func (s *Snapshot) Answered(t Topology) []string {
	hosts := s.before.hosts(s.cluster.opts.addresses())
	for _, server := range t.Servers {
		hosts[server.Host] = true
	}
	return s.cluster.answered.on(hosts)
}

// init makes the maps. The caller holds mu.
func (a *answeredPorts) init() {
	if a.ports == nil {
		a.ports, a.pools, a.addresses = make(map[string]bool), make(map[Protocol]bool), make(map[string]bool)
	}
}

// swap notes whether a probe was answered, and returns whether the one before was.
func (a *answeredPorts) swap(p Port, up bool) (before bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.init()
	subject := p.subject()
	before = a.ports[subject] || (p.Transport == TransportUDP && a.pools[p.Protocol])
	if up {
		a.ports[subject], a.addresses[p.Address] = true, true
	} else {
		delete(a.ports, subject)
	}
	if up && p.Transport == TransportUDP {
		a.pools[p.Protocol] = true
	}
	return before
}

// askGossip pings a gossip port. If gossip is encrypted, it tries one key after the other until the port knows one.
func (c *Cluster) askGossip(ctx context.Context, port *PortReport) {
	if port.Transport == TransportUDP {
		port.Result = c.prober.SerfUDP(ctx, port.Serf)
		return
	}
	for {
		port.Result = c.prober.SerfTCP(ctx, port.Serf)
		if !port.Result.TurnedAway() || len(port.Serf.Keys) < 2 {
			return
		}
		c.noteProbe(port)
		keys := c.usableKeys(port.Protocol, port.Address, port.Serf.Keys)
		if len(keys) == 0 {
			return
		}
		port.Serf.Keys = keys
	}
}

// subject is what a probe of the port asks, for refusals. Each gossip key asks another question.
func (p Port) subject() string {
	subject := p.Transport + "://" + p.Address
	if p.Serf.Encrypted && len(p.Serf.Keys) > 0 {
		subject += " with key " + fingerprint(p.Serf.Keys[0])
	}
	return subject
}

// credentials is what may change the server's answer to a refused probe: the client certificate, and the agent's
// state.
func (p Port) credentials() string {
	if p.tls == nil {
		return p.agent
	}
	return p.agent + " " + certificateFingerprint(p.tls)
}

// certificateFingerprint tells client certificates apart; it is empty without one.
func certificateFingerprint(config *tls.Config) string {
	cert, err := &tls.Certificate{}, error(nil)
	switch {
	case config.GetClientCertificate != nil:
		cert, err = config.GetClientCertificate(&tls.CertificateRequestInfo{})
	case len(config.Certificates) > 0:
		cert = &config.Certificates[0]
	}
	if err != nil || len(cert.Certificate) == 0 {
		return ""
	}
	return fingerprint(cert.Certificate[0])
}

func fingerprint(b []byte) string { return strconv.FormatUint(maphash.Bytes(fingerprints, b), 16) }

// usableKeys returns the gossip keys to ask a port with. The one that encrypts comes first: that of the pool, or else
// the first that the port has not lately refused. There is none if it has refused all.
func (c *Cluster) usableKeys(protocol Protocol, address string, keys [][]byte) [][]byte {
	c.mu.Lock()
	known := c.poolKeys[protocol]
	c.mu.Unlock()
	inTurn := withFirst(keys, func(key []byte) bool { return bytes.Equal(key, known) })
	for i, key := range inTurn {
		if !c.keyRefused(address, key) {
			return slices.Concat([][]byte{key}, inTurn[:i], inTurn[i+1:])
		}
	}
	return nil
}

// keyRefused reports whether a gossip port lately refused a key.
func (c *Cluster) keyRefused(address string, key []byte) bool {
	target := probe.SerfTarget{Encrypted: true, Keys: [][]byte{key}}
	return c.refusals.Holds(Port{Transport: TransportTCP, Address: address, Serf: target}.subject())
}

// proven reports whether a port of the pool last acknowledged this key.
func (c *Cluster) proven(protocol Protocol, key []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Equal(c.poolKeys[protocol], key)
}

// learnPoolKey keeps the gossip key that a port of the pool acknowledged.
func (c *Cluster) learnPoolKey(protocol Protocol, key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poolKeys[protocol] = key
}

// withFirst returns a list in the same order, except that those come first for which first is true.
func withFirst[T any](list []T, first func(T) bool) []T {
	rest := slices.DeleteFunc(slices.Clone(list), first)
	return append(slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !first(v) }), rest...)
}
