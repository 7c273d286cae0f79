// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// PortState is the state of a port, in a word.
type PortState string

// The states of ports.
const (
	// PortUp means that the port answers in its own protocol.
	PortUp PortState = "up"
	// PortAccepts means that the port accepts connections, and that nothing more could be queried.
	PortAccepts PortState = "accepts"
	// PortHangs means that the port accepts connections and does not answer in time: the kernel accepts them also for a
	// process that is stopped.
	PortHangs PortState = "hangs"
	// PortDown means that the port does not answer.
	PortDown PortState = "down"
	// PortTurnedAway means that the other side responded and turned this exporter away, so its health is unknown.
	PortTurnedAway PortState = "turned away"
	// PortUnknown means that the port could not be probed.
	PortUnknown PortState = "unknown"
	// PortNotAsked means that the port is not probed, because Consul's configuration rules out an answer.
	PortNotAsked PortState = "not asked"
)

// Failed reports whether the port does not answer.
func (s PortState) Failed() bool { return s == PortDown || s == PortHangs }

// Port is a port in the plan, and its state.
type Port struct {
	*cluster.PortReport

	State PortState
}

// PortsOf returns the ports of one server, or agent, in the order of their default numbers.
func PortsOf(name string, reports []cluster.PortReport) []Port {
	var ports []Port
	for i := range reports {
		if reports[i].Server == name {
			ports = append(ports, judgePort(&reports[i]))
		}
	}
	slices.SortStableFunc(ports, func(a, b Port) int {
		return cmp.Or(
			cmp.Compare(a.Protocol.DefaultPort(), b.Protocol.DefaultPort()), cmp.Compare(a.Transport, b.Transport),
		)
	})
	return ports
}

func judgePort(r *cluster.PortReport) Port {
	state := PortDown
	switch {
	case r.Result.Skipped && r.Unasked():
		state = PortNotAsked
	case !r.Result.Up && r.Result.Outcome() == probe.OutcomeTurnedAway:
		state = PortTurnedAway
	case r.Result.Skipped:
		state = PortUnknown
	case r.Result.Up && r.ConnectOnly():
		state = PortAccepts
	case r.Result.Up:
		state = PortUp
	case r.Transport == cluster.TransportTCP && r.Result.Connected() && r.Result.Reason == probe.ReasonTimeout:
		state = PortHangs
	}
	return Port{r, state}
}
