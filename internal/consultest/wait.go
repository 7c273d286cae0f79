// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"
)

func read(ctx context.Context) *api.QueryOptions  { return new(api.QueryOptions).WithContext(ctx) }
func write(ctx context.Context) *api.WriteOptions { return new(api.WriteOptions).WithContext(ctx) }

// answering are those of the agents that are neither killed nor stopped.
func answering(agents []*Agent) []*Agent {
	return slices.DeleteFunc(slices.Clone(agents), func(a *Agent) bool { return !a.answering() })
}

// stale are the options of a request that each server answers from what it has itself.
func stale(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{AllowStale: true}).WithContext(ctx)
}

// Leader returns the server that all servers now name as their leader, leaving out those that are killed or stopped.
// It is an error if they name different ones or none, or one that is itself killed or stopped.
func (c *Cluster) Leader(ctx context.Context) (*Agent, error) { return leaderOf(ctx, c.Servers) }

// WaitLeader waits until Leader has an answer and that server responds to a consistent read, which means that a
// quorum still follows it. With BootstrapAlone and several servers that never happens.
func (c *Cluster) WaitLeader(ctx context.Context) (*Agent, error) { return waitLeader(ctx, c.Servers) }

func waitLeader(ctx context.Context, servers []*Agent) (leader *Agent, err error) {
	err = Poll(ctx, "a leader", func(ctx context.Context) error {
		candidate, err := leaderOf(ctx, servers)
		if err != nil {
			return err
		}
		options := (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
		if _, _, err := candidate.client.KV().Get("consultest", options); err != nil {
			return fmt.Errorf("read from %s: %w", candidate, err)
		}
		leader = candidate
		return nil
	})
	return leader, err
}

// leaderOf returns the leader that all of these servers name.
func leaderOf(ctx context.Context, servers []*Agent) (*Agent, error) {
	var leader, witness *Agent
	for _, server := range answering(servers) {
		addr, err := server.client.Status().LeaderWithQueryOptions(read(ctx))
		if err != nil {
			return nil, fmt.Errorf("ask %s for the leader: %w", server, err)
		}
		host, _, _ := net.SplitHostPort(addr) // No host is the address of no server.
		i := slices.IndexFunc(servers, func(s *Agent) bool { return s.Addr == host })
		switch {
		case i < 0:
			return nil, fmt.Errorf("%s knows no leader", server)
		case leader == nil:
			leader, witness = servers[i], server
		case leader != servers[i]:
			return nil, fmt.Errorf("%s names %s as its leader, %s names %s", witness, leader, server, servers[i])
		}
	}
	if leader == nil {
		return nil, errors.New("no server is running")
	}
	if !leader.answering() {
		return nil, fmt.Errorf("%s names %s as its leader, which is not running", witness, leader)
	}
	return leader, nil
}

// WaitMembers waits until every agent that is neither killed nor stopped sees exactly n living members in its gossip
// pool.
func (c *Cluster) WaitMembers(ctx context.Context, n int) error {
	return waitMembers(ctx, c.Agents(), n)
}

func waitMembers(ctx context.Context, agents []*Agent, n int) error {
	return pollEach(ctx, fmt.Sprintf("%d members", n), agents, func(ctx context.Context, agent *Agent) error {
		var members []*api.AgentMember
		if _, err := agent.client.Raw().Query("/v1/agent/members", &members, read(ctx)); err != nil {
			return err
		}
		return expectAlive(members, n)
	})
}

func expectAlive(members []*api.AgentMember, n int) error {
	const alive = 1 // The API has no name for it.
	members = slices.DeleteFunc(members, func(m *api.AgentMember) bool { return m.Status != alive })
	if len(members) != n {
		return fmt.Errorf("it sees %d living members", len(members))
	}
	return nil
}

// WaitHealthy waits until every server that is neither killed nor stopped votes and the leader's autopilot calls all
// servers healthy. A server that autopilot has removed, and that has come back, gets its vote only then: until it has,
// the cluster may not survive the loss of another.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	return Poll(ctx, "all servers to be healthy voters", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		state, err := leader.client.Operator().AutopilotState(read(ctx))
		if err != nil {
			return fmt.Errorf("ask %s: %w", leader, err)
		}
		servers := len(answering(c.Servers))
		if len(state.Voters) != servers || !state.Healthy {
			return fmt.Errorf("%s has %d voters of %d servers, healthy: %t", leader, len(state.Voters), servers, state.Healthy)
		}
		return nil
	})
}

// waitCatalog waits until the leader has entered n agents into the catalog, as alive, which it does soon after it was
// elected.
func waitCatalog(ctx context.Context, leader *Agent, n int) error {
	return Poll(ctx, fmt.Sprintf("%d nodes in the catalog", n), func(ctx context.Context) error {
		options := read(ctx)
		options.Filter = `CheckID == "serfHealth"`
		alive, _, err := leader.client.Health().State(api.HealthPassing, options)
		if err == nil && len(alive) != n {
			err = fmt.Errorf("%s has %d", leader, len(alive))
		}
		return err
	})
}

// WaitSynced waits until every agent that is neither killed nor stopped has written what it knows of itself into the
// catalog, and every server has that: node meta, tagged addresses and so on. That happens some time after the cluster
// is ready, mostly within three seconds but, if the first attempt came before the election, only after 15 to 30. Wait
// for it before you compare the catalog with what it should be.
func (c *Cluster) WaitSynced(ctx context.Context) error {
	return pollEach(ctx, "the catalog to be in sync", c.Servers, func(ctx context.Context, server *Agent) error {
		for _, agent := range answering(c.Agents()) {
			// The leader enters nodes without these addresses.
			node, _, err := server.client.Catalog().Node(agent.Name, stale(ctx))
			if err != nil {
				return err
			}
			if node == nil || node.Node.TaggedAddresses["lan"] != agent.Addr {
				return fmt.Errorf("it does not have what %s writes of itself", agent)
			}
		}
		return nil
	})
}

// waitToken waits until each of the agents accepts the token. A server that does not know a token yet refuses it,
// even though the leader knows it.
func waitToken(ctx context.Context, token string, agents []*Agent) error {
	return pollEach(ctx, "a token to be known", agents, func(ctx context.Context, agent *Agent) error {
		options := stale(ctx)
		options.Token = token
		_, _, err := agent.client.ACL().TokenReadSelf(options)
		return err
	})
}

const (
	// pollInterval is the pause between two looks at a condition.
	pollInterval = 25 * time.Millisecond
	// pollTimeout bounds one look: an agent that is busy electing a leader can keep a request for seconds, when the
	// next one would be answered at once.
	pollTimeout = time.Second
)

// A fatalError makes Poll give up at once.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// Poll calls check, at once and then again and again, until it returns nil. The error says what was waited for and
// why check was not satisfied the last time.
func Poll(ctx context.Context, what string, check func(context.Context) error) error {
	look := func() error {
		ctx, cancel := context.WithTimeout(ctx, pollTimeout)
		defer cancel()
		return check(ctx)
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := look()
		if err == nil {
			return nil
		}
		if _, hopeless := errors.AsType[fatalError](err); hopeless {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; the last time: %w", what, context.Cause(ctx), err)
		}
	}
}

// pollEach waits until check returns nil for each of the agents, leaving out those that are killed or stopped.
func pollEach(ctx context.Context, what string, agents []*Agent, check func(context.Context, *Agent) error) error {
	return Poll(ctx, what, func(ctx context.Context) error {
		for _, a := range answering(agents) {
			if err := check(ctx, a); err != nil {
				return fmt.Errorf("%s: %w", a, err)
			}
		}
		return nil
	})
}
