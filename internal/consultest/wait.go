// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/hashicorp/consul/api"
)

// Leader returns the server that all servers now name as their leader, leaving out those that are killed or stopped.
// It is an error if they name different ones or none, or one that is itself killed or stopped.
func (c *Cluster) Leader(ctx context.Context) (*Agent, error) {
	return leaderOf(ctx, c.Servers)
}

// WaitLeader waits until Leader has an answer and that server answers a consistent read, which means that a quorum
// still follows it. With BootstrapAlone and several servers that never happens.
func (c *Cluster) WaitLeader(ctx context.Context) (*Agent, error) {
	return waitLeader(ctx, c.Servers)
}

// waitLeader is WaitLeader for some of the servers.
func waitLeader(ctx context.Context, servers []*Agent) (*Agent, error) {
	var leader *Agent
	err := poll(ctx, "a leader", func(ctx context.Context) error {
		candidate, err := leaderOf(ctx, servers)
		if err != nil {
			return err
		}
		options := (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
		if _, _, err := candidate.client.KV().Get("consultest", options); err != nil {
			return fmt.Errorf("read from %s: %w", candidate.Name, err)
		}
		leader = candidate
		return nil
	})
	return leader, err
}

// leaderOf returns the leader that all of these servers name.
func leaderOf(ctx context.Context, servers []*Agent) (*Agent, error) {
	var leader, witness *Agent
	for _, server := range servers {
		if !server.answering() {
			continue
		}
		addr, err := server.client.Status().LeaderWithQueryOptions(new(api.QueryOptions).WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("ask %s for the leader: %w", server.Name, err)
		}
		named := serverAt(servers, addr)
		switch {
		case named == nil:
			return nil, fmt.Errorf("%s knows no leader", server.Name)
		case leader == nil:
			leader, witness = named, server
		case named != leader:
			return nil, fmt.Errorf("%s takes %s for the leader, %s takes %s", witness.Name, leader.Name, server.Name, named.Name)
		}
	}
	if leader == nil {
		return nil, errors.New("no server is running")
	}
	if !leader.answering() {
		return nil, fmt.Errorf("%s takes %s for the leader, which is not running", witness.Name, leader.Name)
	}
	return leader, nil
}

// serverAt returns that of the servers which has this "IP:port", or nil.
func serverAt(servers []*Agent, addr string) *Agent {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	for _, server := range servers {
		if server.Addr == host {
			return server
		}
	}
	return nil
}

// WaitMembers waits until every agent that is neither killed nor stopped sees
// exactly n living members in its gossip pool.
func (c *Cluster) WaitMembers(ctx context.Context, n int) error {
	return waitMembers(ctx, c.Agents(), n)
}

// memberAlive is the status of a Serf member; the API has no name for it.
const memberAlive = 1

func waitMembers(ctx context.Context, agents []*Agent, n int) error {
	return poll(ctx, fmt.Sprintf("%d members", n), func(ctx context.Context) error {
		for _, agent := range agents {
			if !agent.answering() {
				continue
			}
			var members []*api.AgentMember
			_, err := agent.client.Raw().Query("/v1/agent/members", &members, new(api.QueryOptions).WithContext(ctx))
			if err != nil {
				return fmt.Errorf("ask %s for the members: %w", agent.Name, err)
			}
			living := 0
			for _, member := range members {
				if member.Status == memberAlive {
					living++
				}
			}
			if living != n {
				return fmt.Errorf("%s sees %d", agent.Name, living)
			}
		}
		return nil
	})
}

// waitCatalog waits until the leader has entered n agents into the catalog, as
// alive, which it does soon after it was elected.
func waitCatalog(ctx context.Context, leader *Agent, n int) error {
	return poll(ctx, fmt.Sprintf("%d nodes in the catalog", n), func(ctx context.Context) error {
		checks, _, err := leader.client.Health().State(api.HealthPassing, new(api.QueryOptions).WithContext(ctx))
		if err != nil {
			return fmt.Errorf("ask %s for the checks: %w", leader.Name, err)
		}
		alive := 0
		for _, check := range checks {
			if check.CheckID == "serfHealth" {
				alive++
			}
		}
		if alive != n {
			return fmt.Errorf("%s has %d", leader.Name, alive)
		}
		return nil
	})
}

// WaitSynced waits until every agent that is neither killed nor stopped has written what it knows of itself into the
// catalog, and every server has that: node meta, tagged addresses and so on. That happens some time after the cluster
// is ready, mostly within three seconds but, if the first attempt came before the election, only after 15 to 30. Wait
// for it before you compare the catalog with what it should be.
func (c *Cluster) WaitSynced(ctx context.Context) error {
	return poll(ctx, "the catalog to be in sync", func(ctx context.Context) error {
		for _, agent := range c.Agents() {
			if !agent.answering() {
				continue
			}
			for _, server := range c.Servers {
				if !server.answering() {
					continue
				}
				if err := hasSynced(ctx, server, agent); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// hasSynced checks that a server has an agent's node as the agent itself writes
// it: the leader enters nodes without these addresses.
func hasSynced(ctx context.Context, server, agent *Agent) error {
	options := &api.QueryOptions{AllowStale: true}
	node, _, err := server.client.Catalog().Node(agent.Name, options.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("ask %s for the node %s: %w", server.Name, agent.Name, err)
	}
	if node == nil || node.Node.TaggedAddresses["lan"] != agent.Addr {
		return fmt.Errorf("%s does not have what %s writes of itself", server.Name, agent.Name)
	}
	return nil
}

// waitToken waits until each of the agents, as far as they are running, accepts the token. A server that does not
// know a token yet refuses it, even though the leader knows it.
func (c *Cluster) waitToken(ctx context.Context, token string, agents []*Agent) error {
	options := &api.QueryOptions{Token: token, AllowStale: true}
	return poll(ctx, "a token to be known", func(ctx context.Context) error {
		for _, agent := range agents {
			if !agent.answering() {
				continue
			}
			if _, _, err := agent.client.ACL().TokenReadSelf(options.WithContext(ctx)); err != nil {
				return fmt.Errorf("ask %s about the token: %w", agent.Name, err)
			}
		}
		return nil
	})
}
