// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// hangingAndDown finds the servers that do not answer at all.
func (fs *findings) hangingAndDown(st *View) {
	for i := range st.Servers {
		s := &st.Servers[i]
		if st.staleRaftPeer(s) {
			continue
		}
		switch judgeSilence(s.Ports) {
		case silenceHung:
			fs.add(alertServerHung, s.Name, "%s accepts connections and answers none: the process is stopped, deadlocked, or waits for its disk.", s.Name)
		case silenceDown:
			fs.add(alertServerDown, s.Name, "%s answers on none of its ports (%s): the process or its host is gone, or the network is broken.",
				s.Name, s.Ports[0].Reason)
		}
	}
}

// staleRaftPeer reports whether a server is but a peer in the Raft configuration, left over: that is what is wrong with it.
func (st *View) staleRaftPeer(s *ServerStatus) bool {
	return s.Serf == cluster.StatusNone.String() && st.Leadership != nil && st.Leadership.UnknownPeers != nil && *st.Leadership.UnknownPeers > 0
}

// silence is how a server does not answer.
type silence int

const (
	silenceNone silence = iota
	silenceHung
	silenceDown
)

// judgeSilence looks at all ports of a server. That a port accepts connections is no sign of life, and no sign that the host is gone.
func judgeSilence(ports []PortStatus) silence {
	var hung, open, rpc bool
	for i := range ports {
		p := &ports[i]
		switch {
		case p.Up == nil:
			continue
		case (*p.Up && p.Verified) || p.rejects():
			return silenceNone
		case *p.Up:
			open = true
		}
		hung = hung || p.Hung
		rpc = rpc || p.Protocol == cluster.ProtocolRPC
	}
	switch {
	case hung:
		return silenceHung
	case rpc && !open:
		return silenceDown
	default:
		return silenceNone
	}
}

// rejects reports whether the port is not up, and yet something answered: a program that lives.
func (p *PortStatus) rejects() bool {
	switch probe.Reason(p.Reason) {
	case probe.ReasonTLS, probe.ReasonAuth, probe.ReasonProtocol, probe.ReasonLimit:
		return true
	default:
		return false
	}
}

// raftOf finds what is wrong with a server's part in Raft.
func (fs *findings) raftOf(f *Facts, s *ServerStatus) {
	if s.HasLeader != nil && !*s.HasLeader {
		fs.add(alertServerWithoutLeader, s.Name, "%s answers and knows of no leader: it is cut off from the others, or was taken out of the cluster.", s.Name)
	}
	if s.RaftState == cluster.RaftCandidate {
		fs.add(alertServerCandidate, s.Name, "%s stands for election and is not elected.", s.Name)
	}
	if s.LogLag != nil {
		allowed := uint64(farBehind)
		if f.AutopilotConfig != nil {
			allowed = f.AutopilotConfig.MaxTrailingLogs
		}
		switch {
		case *s.LogLag > farBehind:
			fs.add(alertRaftLogLag, s.Name, "The Raft log of %s is %d entries behind, more than %d.", s.Name, *s.LogLag, farBehind)
		case *s.LogLag > allowed:
			fs.add(alertRaftLogLagInfo, s.Name, "The Raft log of %s is %d entries behind, more than autopilot allows (%d).", s.Name, *s.LogLag, allowed)
		}
	}
	if stats := f.ServerAgents[s.Name].Raft; stats != nil && stats.CommitIndex > stats.AppliedIndex+farBehind {
		fs.add(alertRaftApplyLag, s.Name, "%s has yet to apply %d committed Raft log entries, more than %d.", s.Name,
			stats.CommitIndex-stats.AppliedIndex, farBehind)
	}
	if s.LastContactSeconds != nil {
		contact := time.Duration(*s.LastContactSeconds * float64(time.Second))
		switch {
		case contact > lastContactCritical:
			fs.add(alertRaftLastContact, s.Name, "%s last heard of the leader %s ago, more than %s.", s.Name, wording.Rounded(contact), lastContactCritical)
		case contact > lastContactWarning:
			fs.add(alertRaftLastContactWarning, s.Name, "%s last heard of the leader %s ago, more than %s.", s.Name, wording.Rounded(contact), lastContactWarning)
		}
	}
}

// portAlerts are the alerts for ports that are down, over TCP.
var portAlerts = map[cluster.Protocol]alert{
	cluster.ProtocolRPC:     alertRPCPortDown,
	cluster.ProtocolSerfLAN: alertSerfLANPortDown,
	cluster.ProtocolSerfWAN: alertSerfWANPortDown,
	cluster.ProtocolHTTP:    alertHTTPPortDown,
	cluster.ProtocolHTTPS:   alertHTTPPortDown,
	cluster.ProtocolGRPC:    alertGRPCPortDown,
	cluster.ProtocolGRPCTLS: alertGRPCPortDown,
	cluster.ProtocolDNS:     alertDNSPortDown,
}

// portsOf finds what is wrong with the single ports of a server, or agent.
func (fs *findings) portsOf(f *Facts, server string, ports []PortStatus) {
	tcpDown := make(map[int]bool)
	for i := range ports {
		p := &ports[i]
		where := fmt.Sprintf("Port %d (%s) of %s", p.Port, p.label(), server)
		switch {
		case p.Up == nil:
		case *p.Up && time.Duration(p.Seconds*float64(time.Second)) > slowPort:
			fs.addPort(alertPortSlow, server, p.Port, "%s takes %s to answer, more than %s.", where,
				wording.Rounded(time.Duration(p.Seconds*float64(time.Second))), slowPort)
		case *p.Up:
		case p.Transport == cluster.TransportTCP:
			tcpDown[p.Port] = true
			fs.addPort(portAlerts[p.Protocol], server, p.Port, "%s does not answer (%s).", where, p.Reason)
		case p.Protocol == cluster.ProtocolDNS && !tcpDown[p.Port]:
			fs.addPort(alertDNSPortDown, server, p.Port, "%s does not answer (%s), and does over TCP.", where, p.Reason)
		case !tcpDown[p.Port]:
			fs.addPort(alertGossipUDPBlocked, server, p.Port, "%s does not answer (%s), and does over TCP: mostly a firewall.", where, p.Reason)
		}
		if p.CertificateExpiry != nil {
			fs.certificateOf(server, p, where, p.CertificateExpiry.Sub(f.Start))
		}
	}
}

// label is the protocol, with what tells its two transports apart.
func (p *PortStatus) label() string {
	if p.Transport == cluster.TransportUDP {
		return string(p.Protocol) + " over UDP"
	}
	return string(p.Protocol)
}

// certificateOf finds certificates that are near their end. Those that are good for a short time are renewed by a machine, such as Consul's
// own for 72 hours: they are a problem only in their last tenth.
func (fs *findings) certificateOf(server string, p *PortStatus, where string, left time.Duration) {
	const day = 24 * time.Hour
	switch {
	case left <= 0:
		fs.addPort(alertCertificateExpires, server, p.Port, "%s shows a certificate that has expired.", where)
	case left.Seconds() > p.CertificateLifetime/10:
	case left < certificateCritical:
		fs.addPort(alertCertificateExpires, server, p.Port, "%s shows a certificate that expires in %s.", where, wording.Plural(int(left/time.Hour), "hour", "hours"))
	case left < certificateWarning:
		fs.addPort(alertCertificateExpiresLater, server, p.Port, "%s shows a certificate that expires in %s.", where, wording.Plural(int(left/day), "day", "days"))
	}
}
