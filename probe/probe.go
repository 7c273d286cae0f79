// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/descriptors"
)

// Target is one port of one server.
type Target struct {
	// Address is "host:port"; the host may be a name or an IP address.
	Address string
	// TLS is the client's side of TLS, which decides how the server's certificate is verified; nil means plain text. An
	// empty ServerName means the host of Address.
	TLS *tls.Config
}

// Phase is a part of a probe that is timed on its own.
type Phase string

// The phases, in the order in which a probe goes through them.
const (
	PhaseConnect Phase = "connect"
	PhaseTLS     Phase = "tls"
	PhaseRequest Phase = "request"
)

// PhaseDuration says how long a phase took, or how long until the probe failed in it.
type PhaseDuration struct {
	Phase    Phase
	Duration time.Duration
}

// Result is what every probe returns, whatever the protocol.
type Result struct {
	// Up is whether the port answered in its own protocol.
	Up bool
	// Verified is false where Up only means "accepts connections".
	Verified bool
	// Skipped is true if nothing was sent: whether the port is up is unknown then, and Reason says why.
	Skipped bool
	// Reason says why the probe failed; empty when it did not. With Up the server answered, but not what it was asked:
	// ReasonAuth or ReasonLimit.
	Reason Reason
	// Err has the details for a person; nil exactly when Reason is empty.
	Err error
	// Start is when the probe began.
	Start time.Time
	// Duration is the time the whole probe took.
	Duration time.Duration
	// Phases has the phases the probe got to, in order.
	Phases []PhaseDuration
	// CertExpiry is when the first of the certificates expires that the server showed, whether they verify or not. It is
	// zero without TLS, or if the handshake did not get that far.
	CertExpiry time.Time
	// CertLifetime is how long that certificate is valid in all.
	CertLifetime time.Duration
}

// Connected reports whether a probe over TCP got further than connecting.
func (r *Result) Connected() bool {
	return len(r.Phases) > 0 && r.Phases[len(r.Phases)-1].Phase != PhaseConnect
}

// TurnedAway reports whether the server rejected the way it was asked, and logged that: the client's certificate, key
// or rights, or TLS where it speaks none. It is false for what only this side objects to, as the server's certificate
// is verified after the handshake, and for a server without a certificate.
func (r *Result) TurnedAway() bool {
	return r.Reason == ReasonAuth || (isAlert(r.Err) && !WithoutCertificate(r.Err)) || isA[tls.RecordHeaderError](r.Err)
}

// Options are what a Prober is made from. The zero value is good for production.
type Options struct {
	// Dial opens connections; the default is descriptors.Dial.
	Dial dialer
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Prober makes probes. It is safe for concurrent use. Between probes it keeps only the connections to servers that
// have not answered yet; Close releases those.
type Prober struct {
	dial dialer
	// dialAnySource opens a UDP socket that takes answers from any address.
	dialAnySource dialer
	silent        silentConns
}

// New returns a Prober.
func New(opts Options) *Prober {
	dial := opts.Dial
	if dial == nil {
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return descriptors.Dial(ctx, &net.Dialer{}, network, address, 0)
		}
	}
	return &Prober{dial: dial, dialAnySource: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return fromAnySource(ctx, conn), nil
	}}
}

// Close drops the connections to servers that have not answered yet, and those of probes under way when they end.
func (p *Prober) Close() { p.silent.close() }

// Retain drops the connections to servers that are no longer known.
func (p *Prober) Retain(known func(address string) bool) { p.silent.retain(known) }

// Silent reports whether an earlier probe of this address still has no answer: the server accepts connections and
// hangs.
func (p *Prober) Silent(address string) bool { return p.silent.get(address) != nil }

// stopwatch fills in the times of a Result.
type stopwatch struct {
	phase time.Time
	res   *Result
}

// timed runs a probe, whose ask marks the end of each phase, and returns its result.
func timed(ask func(watch *stopwatch) error) (res Result) {
	res.Start = time.Now()
	watch := &stopwatch{phase: res.Start, res: &res}
	watch.stop(ask(watch))
	return res
}

// failed is the result of a probe that could not even begin.
func failed(err error) Result {
	return timed(func(*stopwatch) error { return err })
}

// lap ends a phase.
func (w *stopwatch) lap(phase Phase) {
	now := time.Now()
	w.res.Phases = append(w.res.Phases, PhaseDuration{phase, now.Sub(w.phase)})
	w.phase = now
}

// stop ends the probe. The port is up with no error, or with an answeredError.
func (w *stopwatch) stop(err error) {
	w.res.Duration = time.Since(w.res.Start)
	w.res.Err = err
	w.res.Reason = ReasonOf(err)
	w.res.Up = err == nil || isA[*answeredError](err)
	w.res.Verified = w.res.Up
	w.res.Skipped = slices.Contains(SkipReasons(), w.res.Reason)
}

// NotMade is the result of a probe that was not made: err is ErrNoTurn or ErrNotAllowed.
func NotMade(err error) Result {
	return Result{Skipped: true, Reason: ReasonOf(err), Err: err, Start: time.Now()}
}
