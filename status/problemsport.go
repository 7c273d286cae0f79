// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// eachPort calls found for each port of the servers, but of those that are only left over in the Raft configuration, and of the agent.
func (e *evidence) eachPort(found func(p *cluster.PortReport, state PortState)) {
	for i := range e.servers {
		if e.leftOver(&e.servers[i]) {
			continue
		}
		for j := range e.servers[i].ports {
			found(&e.servers[i].ports[j], portState(&e.servers[i].ports[j]))
		}
	}
	ports := e.agentPorts()
	for i := range ports {
		found(&ports[i], portState(&ports[i]))
	}
}

// failed reports whether the port did not answer.
func (s PortState) failed() bool { return s == PortDown || s == PortHangs }

// tcpDown finds the ports that do not answer, of the protocols that have this alert.
func tcpDown(alert string) func(*evidence, report) {
	return func(e *evidence, report report) {
		e.eachPort(func(p *cluster.PortReport, state PortState) {
			if state.failed() && p.Transport == cluster.TransportTCP && p.Protocol.Alert() == alert {
				report(ofPort(p), "%s does not answer (%s).", portName(p), p.Result.Reason)
			}
		})
	}
}

func dnsDown(e *evidence, report report) {
	tcpDown("ConsulDNSPortDown")(e, report)
	e.eachPort(func(p *cluster.PortReport, state PortState) {
		if state.failed() && p.Transport == cluster.TransportUDP && p.Protocol == cluster.ProtocolDNS && !e.tcpFailed(p) {
			report(ofPort(p), "%s does not answer (%s), and does over TCP.", portName(p), p.Result.Reason)
		}
	})
}

func udpBlocked(e *evidence, report report) {
	e.eachPort(func(p *cluster.PortReport, state PortState) {
		if state.failed() && p.Transport == cluster.TransportUDP && p.Protocol != cluster.ProtocolDNS && !e.tcpFailed(p) {
			report(ofPort(p), "%s does not answer (%s), and does over TCP: mostly a firewall.", portName(p), p.Result.Reason)
		}
	})
}

// tcpFailed reports whether the same port does not answer over TCP either.
func (f *Facts) tcpFailed(udp *cluster.PortReport) bool {
	return slices.ContainsFunc(f.Ports, func(p cluster.PortReport) bool {
		return p.Server == udp.Server && p.Address == udp.Address && p.Transport == cluster.TransportTCP && portState(&p).failed()
	})
}

func portSlow(e *evidence, report report) {
	e.eachPort(func(p *cluster.PortReport, _ PortState) {
		if p.Result.Up && p.Result.Duration > slowPort {
			report(ofPort(p), "%s takes %s to answer, more than %s.", portName(p), wording.Rounded(p.Result.Duration), slowPort)
		}
	})
}

// certificateExpires finds certificates that expire earlier than that, and tells the time left in this unit. Those that are good for a short
// time are renewed by a machine, such as Consul's own for 72 hours: they are a problem only in their last tenth.
func certificateExpires(warning time.Duration, unit string, size time.Duration) func(*evidence, report) {
	return func(e *evidence, report report) {
		e.eachPort(func(p *cluster.PortReport, _ PortState) {
			if p.Result.CertExpiry.IsZero() {
				return
			}
			switch left := p.Result.CertExpiry.Sub(e.Start); {
			case left <= 0:
				report(ofPort(p), "%s shows a certificate that has expired.", portName(p))
			case left < warning && left <= p.Result.CertLifetime/10:
				report(ofPort(p), "%s shows a certificate that expires in %s.", portName(p), wording.Plural(int(left/size), unit, unit+"s"))
			}
		})
	}
}

// dnsFewerServers finds agents whose DNS names fewer servers than are alive. Over UDP Consul answers with three, however many there are; one
// that names none may mostly not read them.
func dnsFewerServers(e *evidence, report report) {
	alive := e.Topology.ServerStates[cluster.StatusAlive]
	for i := range e.Ports {
		p := &e.Ports[i]
		if p.DNS != nil && p.Transport == cluster.TransportTCP && 0 < p.DNS.Answers && p.DNS.Answers < alive {
			report(ofPort(p), "DNS of %s names %s for consul.service, and %d are alive.", p.Server,
				wording.Plural(p.DNS.Answers, "server", "servers"), alive)
		}
	}
}

// portName is a port in a sentence, at its beginning.
func portName(p *cluster.PortReport) string {
	protocol := string(p.Protocol)
	if p.Transport == cluster.TransportUDP {
		protocol += " over UDP"
	}
	return fmt.Sprintf("Port %d (%s) of %s", p.Number(), protocol, p.Server)
}
