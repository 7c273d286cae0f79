// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// refusalMemory is how long a refusal holds, give or take a fifth, so that many exporters do not ask again at once.
const refusalMemory = 5 * time.Minute

// unknownTokenMemory is how long it holds at first that a token is unknown. It doubles each time up to refusalMemory, for the token may
// have been deleted, but a server that has just started knows no token before it has read its Raft log, and those that knew it yesterday
// should not wait for minutes after each restart.
const unknownTokenMemory = 10 * time.Second

// refusals remembers what agents refused to tell. Consul logs each refusal at ERROR, so asking at each scrape would
// fill its log; a new token is a new chance at once.
type refusals struct {
	mu    sync.Mutex
	token string             // Guarded by mu: the token that was refused.
	until map[string]refusal // Guarded by mu: by what was asked.
}

type refusal struct {
	err   error
	until time.Time
	// memory is how long it holds in all, about.
	memory time.Duration
}

// refusedError is an ErrRefused that says why.
type refusedError struct{ cause error }

func (e refusedError) Error() string   { return ErrRefused.Error() + ": " + e.cause.Error() }
func (e refusedError) Unwrap() error   { return e.cause }
func (refusedError) Is(err error) bool { return err == ErrRefused }

// isRefusal tells the answers that stay the same for the next minutes from those that may pass. Besides the rights of the token and
// what the version does not have, these are the parts of Consul that are switched off: it says so with status 401, or 500 and a
// sentence (Consul: acl.ErrDisabled; agent/consul/connect_ca_endpoint.go, ErrConnectNotEnabled; agent/rpc/peering, peeringNotEnabledErr).
func isRefusal(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	if !ok {
		return false
	}
	switch status.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusInternalServerError:
		return strings.Contains(status.Body, "must be enabled")
	default:
		return false
	}
}

// IsDenied reports whether a refusal is for want of rights, which somebody can give.
func IsDenied(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusForbidden
}

// isUnknownToken reports whether a refusal is for a token that there is not, or not any more (Consul: acl.ErrNotFound).
func isUnknownToken(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusForbidden && strings.Contains(status.Body, "ACL not found")
}

// add remembers a refusal and returns it as an ErrRefused.
func (r *refusals) add(subject, token string, err error, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forTokenLocked(token)
	memory := refusalMemory
	if isUnknownToken(err) {
		memory = min(max(unknownTokenMemory, 2*r.until[subject].memory), refusalMemory)
	}
	refused := refusedError{err}
	r.until[subject] = refusal{refused, now.Add(memory - memory/5 + rand.N(2*memory/5)), memory}
	return refused
}

// remember makes check return this error until then.
func (r *refusals) remember(subject, token string, err error, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forTokenLocked(token)
	r.until[subject] = refusal{err: err, until: until}
}

// forget is for what has been answered.
func (r *refusals) forget(subject, token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forTokenLocked(token)
	delete(r.until, subject)
}

// isNoNumber reports whether an agent's telemetry holds what is no number, see composure. The wait there does not see an agent that
// restarts between two scrapes.
func isNoNumber(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && strings.Contains(status.Body, "unsupported value: NaN")
}

// check returns the remembered refusal, if there is one and it still holds.
func (r *refusals) check(subject, token string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forTokenLocked(token)
	if refused, ok := r.until[subject]; ok && now.Before(refused.until) {
		return refused.err
	}
	return nil
}

// forTokenLocked forgets everything when the token has changed. It assumes that mu is held.
func (r *refusals) forTokenLocked(token string) {
	if r.until == nil || r.token != token {
		r.token = token
		r.until = make(map[string]refusal)
	}
}
