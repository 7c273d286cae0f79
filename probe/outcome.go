// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

// Outcome says in one word how a probe ended, and so what it proves about the port.
type Outcome string

// The outcomes. Turned away and own fault say nothing about the health of the server.
const (
	// OutcomeAnswered: the port answered in its own protocol.
	OutcomeAnswered Outcome = "answered"
	// OutcomeSilent: no answer in time, with or without a connection.
	OutcomeSilent Outcome = "silent"
	// OutcomeRefused: nothing listens on the port, or so the network says.
	OutcomeRefused Outcome = "refused"
	// OutcomeUnreachable: the network says that there is no way to the host.
	OutcomeUnreachable Outcome = "unreachable"
	// OutcomeTurnedAway: the other side responded and rejected this client: its TLS, certificate, key, rights, number of
	// connections, or protocol. Or this client rejected the other side's certificate.
	OutcomeTurnedAway Outcome = "turned_away"
	// OutcomeOwnFault: this process could not ask.
	OutcomeOwnFault Outcome = "own_fault"
)

// outcomes has an outcome for each reason.
var outcomes = map[Reason]Outcome{
	"":                OutcomeAnswered,
	ReasonRefused:     OutcomeRefused,
	ReasonTimeout:     OutcomeSilent,
	ReasonUnreachable: OutcomeUnreachable,
	ReasonReset:       OutcomeTurnedAway,
	ReasonTLS:         OutcomeTurnedAway,
	ReasonCertificate: OutcomeTurnedAway,
	ReasonName:        OutcomeTurnedAway,
	ReasonAuth:        OutcomeTurnedAway,
	ReasonProtocol:    OutcomeTurnedAway,
	ReasonLimit:       OutcomeTurnedAway,
	ReasonNoKey:       OutcomeOwnFault,
	ReasonHeldBack:    OutcomeTurnedAway,
	ReasonResolve:     OutcomeOwnFault,
	ReasonOwnFault:    OutcomeOwnFault,
	ReasonNotAllowed:  OutcomeOwnFault,
}

// Outcome returns how the probe ended.
func (r *Result) Outcome() Outcome {
	outcome, known := outcomes[r.Reason]
	if !known || (r.Reason == "" && !r.Up) { // Not asked at all.
		return OutcomeOwnFault
	}
	return outcome
}

// Unknown reports whether the probe says nothing about the server's health.
func (o Outcome) Unknown() bool { return o == OutcomeTurnedAway || o == OutcomeOwnFault }

// TurnedAwayBy returns why the other side turned this client away, now or, while the question is held back, when it was
// last asked; empty if it did not.
func (r *Result) TurnedAwayBy() Reason {
	if r.Outcome() != OutcomeTurnedAway {
		return ""
	}
	if wrapped, ok := r.Err.(interface{ Unwrap() []error }); ok && r.Reason == ReasonHeldBack {
		for _, err := range wrapped.Unwrap() {
			if reason := ReasonOf(err); reason != ReasonHeldBack && outcomes[reason] == OutcomeTurnedAway {
				return reason
			}
		}
	}
	return r.Reason
}
