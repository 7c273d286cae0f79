// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// maxWatchGap is how far apart two looks at a server may be for it to count as dead in between.
const maxWatchGap = 2 * time.Minute

// removeDeadPeer takes a server out of the Raft configuration that has been dead for long. Each look of the watch
// tells whether it is.
type removeDeadPeer struct {
	guards
	consul   *cluster.Cluster
	operator *operator
	// deadFor is for how long.
	deadFor time.Duration
	// silentHostIsDead is for cluster.DeathInput.
	silentHostIsDead bool

	mu sync.Mutex
	// deadSince has the servers that were dead at each look since then. Guarded by mu.
	deadSince map[string]time.Time
	// looked is when the latest look was. Guarded by mu.
	looked time.Time
}

func (*removeDeadPeer) name() string           { return actionRemove }
func (*removeDeadPeer) guarded() bool          { return true }
func (*removeDeadPeer) timeout() time.Duration { return operatorTimeout }

// applies wants an alert about a server.
func (*removeDeadPeer) applies(a *Alert, _ *view) string {
	if a.server() == "" {
		return "The alert has no label " + labelServer + ", so there is no telling which one is meant."
	}
	return ""
}

func (r *removeDeadPeer) judge(a *Alert, v *view) (plan, ruling) {
	name := a.server()
	verdict := r.canRemove(name, v)
	if !verdict.allowed {
		return plan{}, verdict
	}
	deny := func(reason string) (plan, ruling) {
		verdict.allowed = false
		verdict.reasons = append(verdict.reasons, reason)
		return plan{}, verdict
	}
	if v.deathUnknown != nil {
		return deny(fmt.Sprintf("There is no telling whether it is dead: %v.", v.deathUnknown))
	}
	if doubt := r.doubt(name, v.death); doubt != "" {
		return deny("It does not count as dead: " + doubt + ".")
	}
	now := time.Now()
	r.observe(v.death, now)
	dead := now.Sub(r.since(name))
	if dead < r.deadFor {
		return deny(fmt.Sprintf("It has been dead for %s as far as was watched, and is removed after %s.", dead.Round(time.Second), r.deadFor))
	}
	server, err := v.server(name)
	if err != nil {
		return deny(fmt.Sprintf("There is no telling: %v.", err))
	}
	peer, err := v.peer(server)
	if err != nil {
		return deny(fmt.Sprintf("There is nothing to remove: %v.", err))
	}
	verdict.reasons = append(verdict.reasons, fmt.Sprintf("It has been dead for %s: nothing listens on its port 8300, and no server sees it alive.", dead.Round(time.Second)))
	return plan{
		what: fmt.Sprintf("Remove %s (%s) from the Raft configuration: %s", name, peer.Address, removePeerText(peer)),
		run:  func(ctx context.Context) (string, error) { return r.run(ctx, name, peer) },
	}, verdict
}

func (r *removeDeadPeer) doubt(server string, in cluster.DeathInput) string {
	in.SilentHostIsDead = r.silentHostIsDead
	return verdict.JudgeDead(server, in)
}

// observe takes a look: servers that are dead now have been since the look at which they first were, if none has been
// missed since.
func (r *removeDeadPeer) observe(in cluster.DeathInput, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	earlier := r.deadSince
	if at.Sub(r.looked) > maxWatchGap {
		earlier = nil
	}
	r.looked = at
	r.deadSince = make(map[string]time.Time)
	for _, report := range in.Reports {
		name := report.Server.Name
		if r.doubt(name, in) != "" {
			continue
		}
		r.deadSince[name] = at
		if since, ok := earlier[name]; ok {
			r.deadSince[name] = since
		}
	}
}

// blind forgets all: a look told nothing.
func (r *removeDeadPeer) blind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadSince = nil
}

// since returns since when a server is known to be dead, which observe has just said it is.
func (r *removeDeadPeer) since(server string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deadSince[server]
}

// watch looks again and again until ctx is done.
func (r *removeDeadPeer) watch(ctx context.Context) {
	interval := min(max(r.deadFor/10, time.Second), 15*time.Second)
	for {
		if v := look(ctx, r.consul, true); v.incomplete == nil && v.deathUnknown == nil {
			r.observe(v.death, time.Now())
		} else if ctx.Err() == nil {
			r.blind()
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return
		}
	}
}

// run waits until the peer is gone.
func (r *removeDeadPeer) run(ctx context.Context, name string, peer cluster.RaftPeer) (string, error) {
	if err := r.operator.removePeer(ctx, peer); err != nil {
		return "", err
	}
	for {
		v := look(ctx, r.consul, false)
		if _, err := v.peer(cluster.Server{Name: name, ID: peer.ID, RPCAddress: peer.Address}); v.incomplete == nil && err != nil {
			return fmt.Sprintf("%s is not in the Raft configuration any more.", name), nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("it is done as Consul says, and %s is not seen to be gone: %w", name, ctx.Err())
		}
	}
}
