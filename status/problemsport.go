// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// portName is a port at the beginning of a sentence.
func portName(p verdict.Port) string {
	over := ""
	if p.Transport == cluster.TransportUDP {
		over = " over UDP"
	}
	return fmt.Sprintf("Port %d (%s%s) of %s", p.Number(), p.Protocol, over, p.Server)
}

// portDown finds the ports that do not answer: over TCP, and over UDP those of DNS. Those of RPC have a place of their
// own in the sentence.
func portDown(ofRPC bool) func(*evidence, verdict.Port) string {
	return func(e *evidence, p verdict.Port) string {
		switch {
		case (p.Protocol == cluster.ProtocolRPC) != ofRPC:
			return ""
		case p.Protocol == cluster.ProtocolDNS && e.udpBlocked(p):
			return fmt.Sprintf(" does not answer (%s), and does over TCP.", p.Result.Reason)
		default:
			return wording.If(p.State.Failed() && p.Transport == cluster.TransportTCP, " does not answer (%s).", p.Result.Reason)
		}
	}
}

func gossipUDPBlocked(e *evidence, p verdict.Port) string {
	return wording.If(e.udpBlocked(p) && p.Protocol != cluster.ProtocolDNS,
		" does not answer (%s), and does over TCP: mostly a firewall.", p.Result.Reason)
}

// udpBlocked reports whether a port does not answer over UDP, and does over TCP or is not probed there. One that turns
// the exporter away over TCP, because of a wrong gossip key, does so over UDP without a word.
func (e *evidence) udpBlocked(udp verdict.Port) bool {
	return udp.State.Failed() && udp.Transport == cluster.TransportUDP &&
		!slices.ContainsFunc(e.ports, func(tcp verdict.Port) bool {
			return tcp.Server == udp.Server && tcp.Address == udp.Address &&
				tcp.Transport == cluster.TransportTCP && tcp.State != verdict.PortUp && tcp.State != verdict.PortAccepts
		})
}

func portSlow(_ *evidence, p verdict.Port) string {
	most := threshold("port-latency", time.Second)
	return wording.If(p.Result.Up && p.Result.Duration > most, " takes %s to answer, more than %s.",
		wording.Rounded(p.Result.Duration), most)
}

// certificateExpires finds certificates that expire soon, and has the time left in this unit. Those that are good
// for a short time are renewed by a machine, such as Consul's own for 72 hours: they are a problem only in their last
// tenth.
func certificateExpires(severity Severity, unit string, size time.Duration) func(*evidence, report) {
	soon := threshold("certificate-"+string(severity), time.Second)
	return func(e *evidence, report report) {
		for _, p := range e.ports {
			about := aboutPort(p.PortReport)
			switch left := p.Result.CertExpiry.Sub(e.Start); {
			case p.Result.CertExpiry.IsZero():
			case left <= 0:
				about["state"] = "expired"
				report(about, portName(p)+" shows a certificate that has expired.")
			case left < soon && left <= p.Result.CertLifetime/10:
				about["state"] = "expiring"
				report(about, fmt.Sprintf("%s shows a certificate that expires in %s.", portName(p),
					wording.Plural(int(left/size), unit, unit+"s")))
			}
		}
	}
}

// dnsFewerServers finds agents whose DNS names fewer servers than are alive, and than they may. Over UDP Consul answers
// with three, however many there are. One that names none mostly may not read them.
func dnsFewerServers(e *evidence, report report) {
	alive := e.Topology.ServerStates[cluster.StatusAlive]
	for i := range e.Ports {
		p := &e.Ports[i]
		few := p.DNS != nil && 0 < p.DNS.Answers && p.DNS.Answers < min(alive, e.dnsLimit(p.Server))
		if few && p.Transport == cluster.TransportTCP {
			report(aboutPort(p), fmt.Sprintf("DNS of %s names %s for consul.service, and %d are alive.",
				p.Server, wording.Plural(p.DNS.Answers, "server", "servers"), alive))
		}
	}
}

// dnsErrors finds agents whose DNS answers with an error. That there is no such name may be as it should: an agent's
// token need not be allowed to read the servers.
func dnsErrors(e *evidence, report report) {
	told := make(map[string]bool) // Over UDP or TCP.
	for i := range e.Ports {
		p := &e.Ports[i]
		if p.DNS == nil || p.DNS.Rcode == 0 || p.DNS.Rcode == 3 || told[p.Server+p.Address] {
			continue
		}
		told[p.Server+p.Address] = true
		code := map[int]string{2: "SERVFAIL", 5: "REFUSED"}[p.DNS.Rcode]
		report(aboutPort(p), fmt.Sprintf("DNS of %s answers %s for consul.service.",
			p.Server, cmp.Or(code, fmt.Sprintf("with the code %d", p.DNS.Rcode))))
	}
}

// dnsLimit is how many addresses an agent's DNS returns at most. One whose configuration is not known may have any
// limit: 0.
func (e *evidence) dnsLimit(name string) int {
	agents := append(slices.Collect(maps.Values(e.ServerAgents)), e.agent)
	i := slices.IndexFunc(agents, func(a cluster.Agent) bool { return a.Name == name })
	switch {
	case i < 0:
		return 0
	case agents[i].DNSLimit <= 0:
		return math.MaxInt
	default:
		return agents[i].DNSLimit
	}
}
