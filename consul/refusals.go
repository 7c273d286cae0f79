// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

var (
	// refusalWaits are how long a refusal holds the first time, the second time in a row, and so on, give or take a
	// fifth so that many exporters do not ask at once. The last one holds from then on.
	refusalWaits = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	// unknownTokenWaits are those for a token that the server does not know. It may be deleted, but a server that has
	// just started knows no token before it has read its Raft log.
	unknownTokenWaits = append([]time.Duration{
		10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second,
	}, refusalWaits...)
	// unreachableWaits are those for a datacenter that the agent cannot reach. It may be back at any time, but Consul
	// logs two errors for each read until the WAN pool has noticed.
	unreachableWaits = unknownTokenWaits[:6]
	// doubtWaits are those for a question that timed out, which may be a moment's trouble or how Consul refuses it.
	doubtWaits = append([]time.Duration{10 * time.Second}, refusalWaits...)
)

// Refusals remembers what Consul refused or misunderstood, on its HTTP API and on its other ports. Consul logs each
// of them, so asking at each scrape would fill its log. A question may be asked again once its time is up, and at
// once with other credentials or when the configuration of the agent has changed.
type Refusals struct {
	Now func() time.Time

	mu        sync.Mutex
	bySubject map[string]refusal // Guarded by mu: by what was asked.
}

type refusal struct {
	err error
	// credentials is what the question was asked with.
	credentials string
	until       time.Time
	// inARow counts the refusals of the question.
	inARow int
}

// newRefusals returns an empty memory; now is the clock.
func newRefusals(now func() time.Time) *Refusals {
	return &Refusals{Now: now, bySubject: make(map[string]refusal)}
}

// RefusedError is an ErrRefused that says why.
type RefusedError struct{ Cause error }

func (e RefusedError) Error() string { return ErrRefused.Error() + ": " + e.Cause.Error() }
func (e RefusedError) Unwrap() error { return e.Cause }

// Is makes it an ErrRefused.
func (RefusedError) Is(err error) bool { return err == ErrRefused }

// isRefusal reports whether an answer will be the same for the next minutes: the token lacks rights, the version does
// not have the endpoint, or ACLs are switched off (status 401).
func isRefusal(err error) bool {
	return slices.Contains([]int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusNotImplemented,
	}, statusOf(err))
}

// IsDenied reports whether a refusal is due to missing rights, which somebody can grant.
func IsDenied(err error) bool {
	_, lacksRight := errors.AsType[DeniedError](err)
	return lacksRight || (statusOf(err) == http.StatusForbidden && !IsBlocked(err))
}

// IsBlocked reports whether the agent's configuration forbids the question to everybody (http_config.block_endpoints).
func IsBlocked(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusForbidden && strings.Contains(status.Body, "Endpoint is blocked")
}

// IsEnterpriseOnly reports whether Consul rejects a question because only its Enterprise edition has what is asked
// for: a namespace or a partition (Consul: agent/http_ce.go).
func IsEnterpriseOnly(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusBadRequest && strings.Contains(status.Body, "Consul Enterprise feature")
}

// IsUnknownToken reports whether a refusal is for a token that does not exist, or no longer (Consul:
// acl.ErrNotFound).
func IsUnknownToken(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusForbidden && strings.Contains(status.Body, "ACL not found")
}

// Add remembers that a question was refused and returns the refusal as an ErrRefused.
func (r *Refusals) Add(subject, credentials string, err error) error {
	waits := refusalWaits
	if IsUnknownToken(err) {
		waits = unknownTokenWaits
	}
	refused := RefusedError{err}
	r.postpone(subject, credentials, refused, waits)
	return refused
}

// postpone makes Check return this error for the first of the waits, then for the second one, and so on.
func (r *Refusals) postpone(subject, credentials string, err error, waits []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.bySubject[subject]
	if before.credentials != credentials {
		before = refusal{}
	}
	if r.Now().Before(before.until) { // One of several that were asked at the same time.
		return
	}
	wait := waits[min(before.inARow, len(waits)-1)]
	wait += rand.N(2*wait/5) - wait/5
	r.bySubject[subject] = refusal{err, credentials, r.Now().Add(wait), before.inARow + 1}
}

// remember makes check return this error until then.
func (r *Refusals) remember(subject, credentials string, err error, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bySubject[subject] = refusal{err: err, credentials: credentials, until: until}
}

// Forget is for a question that was answered.
func (r *Refusals) Forget(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.bySubject, subject)
}

// ForgetAll forgets the questions whose subject begins with the prefix.
func (r *Refusals) ForgetAll(prefix string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for subject := range r.bySubject {
		if strings.HasPrefix(subject, prefix) {
			delete(r.bySubject, subject)
		}
	}
}

// forgetUnknownTokens forgets that tokens are unknown: a server without a leader may know none, and now there is one.
func (r *Refusals) forgetUnknownTokens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for subject, refused := range r.bySubject {
		if IsUnknownToken(refused.err) {
			delete(r.bySubject, subject)
		}
	}
}

// Check returns the remembered refusal, if there is one and it still holds.
func (r *Refusals) Check(subject, credentials string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused, ok := r.bySubject[subject]
	if ok && refused.credentials != credentials { // Forgotten even if they change back: much may have changed meanwhile.
		delete(r.bySubject, subject)
		return nil
	}
	if !ok || !r.Now().Before(refused.until) {
		return nil
	}
	return refused.err
}

// Remembers reports whether anything is known about a question.
func (r *Refusals) Remembers(subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.bySubject[subject]
	return ok
}

// Holds reports whether a refusal holds, whatever the question would be asked with.
func (r *Refusals) Holds(subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused, ok := r.bySubject[subject]
	return ok && r.Now().Before(refused.until)
}

// isNoNumber reports whether an agent's telemetry has NaN, see cluster.uptime, which misses quick restarts.
func isNoNumber(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && strings.Contains(status.Body, "unsupported value: NaN")
}
