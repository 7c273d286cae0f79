// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// unknownTokens are the agents that do not know the token. Each request with it is an error in Consul's log, so only
// one endpoint, the first that was refused, tries it. It is safe for concurrent use; its zero value is ready for use.
type unknownTokens struct {
	mu      sync.Mutex
	byAgent map[string]unknownAt // Guarded by mu: by Address.Host.
}

type unknownAt struct {
	path, token string
	err         error
	until       time.Time
}

// unknownTokenHold is how long other endpoints wait for the one that tries, which may not be read any more.
const unknownTokenHold = 5 * time.Minute

// waitsForToken reports whether an endpoint waits for the one that tries the token. Some need no token, and others
// decide whether to go on at all.
func (ep *Endpoint) waitsForToken() bool {
	return !strings.HasPrefix(ep.Path, "/v1/status/") &&
		!slices.Contains([]string{"/v1/agent/members", "/v1/agent/self", "/v1/internal/acl/authorize"}, ep.Path)
}

// check returns why the endpoint is not to be asked now; nil if it is.
func (u *unknownTokens) check(host string, ep *Endpoint, token string, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.byAgent[host]
	if !ok || !ep.waitsForToken() || at.path == ep.Path || at.token != token || !now.Before(at.until) {
		return nil
	}
	return at.err
}

// note takes that the agent refused the endpoint because it does not know the token.
func (u *unknownTokens) note(host string, ep *Endpoint, token string, err error, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.byAgent[host]
	if !ep.waitsForToken() || (ok && at.token == token && at.path != ep.Path && now.Before(at.until)) {
		return
	}
	if u.byAgent == nil {
		u.byAgent = make(map[string]unknownAt)
	}
	u.byAgent[host] = unknownAt{ep.Path, token, err, now.Add(unknownTokenHold)}
}

// forget takes that the agent has answered the endpoint.
func (u *unknownTokens) forget(host string, ep *Endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byAgent[host].path == ep.Path {
		delete(u.byAgent, host)
	}
}

// clear forgets all: the agents may know the token now.
func (u *unknownTokens) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.byAgent = nil
}
