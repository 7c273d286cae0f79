// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"
)

// JoinWAN federates two clusters, which are different datacenters, and waits
// until every server of both sees all of them in the WAN pool and gets answers
// from both datacenters. With Options.TLS that would take one authority for both.
func (c *Cluster) JoinWAN(ctx context.Context, other *Cluster) error {
	from, to := c.Servers[0], other.Servers[0]
	if err := from.client.Agent().Join(to.Addr, true); err != nil {
		return fmt.Errorf("join %s to %s by WAN: %w", from.Name, to.Name, err)
	}
	servers := slices.Concat(c.Servers, other.Servers)
	return poll(ctx, "two datacenters", func(ctx context.Context) error {
		for _, server := range servers {
			if err := federated(ctx, server, len(servers)); err != nil {
				return err
			}
		}
		return nil
	})
}

// federated checks that a server sees so many in the WAN pool, all alive, and
// has a way to the servers of two datacenters, which it finds after it lists
// them.
func federated(ctx context.Context, server *Agent, n int) error {
	members, err := server.client.Agent().Members(true)
	if err != nil {
		return fmt.Errorf("ask %s for the WAN pool: %w", server.Name, err)
	}
	var datacenters []string
	if _, err := server.client.Raw().Query("/v1/catalog/datacenters", &datacenters, new(api.QueryOptions).WithContext(ctx)); err != nil {
		return fmt.Errorf("ask %s for the datacenters: %w", server.Name, err)
	}
	alive := 0
	for _, member := range members {
		if member.Status == memberAlive {
			alive++
		}
	}
	if alive != n || len(datacenters) != 2 {
		return fmt.Errorf("%s sees %d servers and the datacenters %q", server.Name, alive, datacenters)
	}
	for _, datacenter := range datacenters {
		options := new(api.QueryOptions).WithContext(ctx)
		options.Datacenter = datacenter
		if _, _, err := server.client.Catalog().Nodes(options); err != nil {
			return fmt.Errorf("ask %s for the nodes of %s: %w", server.Name, datacenter, err)
		}
	}
	return nil
}

// Peer peers two clusters, which are different datacenters, by whose names they
// know each other, and waits until both call the peering active.
func (c *Cluster) Peer(ctx context.Context, other *Cluster) error {
	dialer, err := c.WaitLeader(ctx)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	acceptor, err := other.WaitLeader(ctx)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	// Right after their elections, leaders may still lack what both calls need. On a busy machine a call takes more than the second of a look.
	if err := poll(ctx, "a peering", func(context.Context) error {
		options := new(api.WriteOptions).WithContext(ctx)
		token, _, err := acceptor.client.Peerings().GenerateToken(ctx, api.PeeringGenerateTokenRequest{PeerName: c.opts.Datacenter}, options)
		if err != nil {
			return fmt.Errorf("generate a peering token at %s: %w", acceptor.Name, err)
		}
		request := api.PeeringEstablishRequest{PeerName: other.opts.Datacenter, PeeringToken: token.PeeringToken}
		if _, _, err := dialer.client.Peerings().Establish(ctx, request, options); err != nil {
			return fmt.Errorf("establish a peering at %s: %w", dialer.Name, err)
		}
		return nil
	}); err != nil {
		return err
	}
	return poll(ctx, "an active peering", func(ctx context.Context) error {
		if err := peered(ctx, dialer, other.opts.Datacenter); err != nil {
			return err
		}
		return peered(ctx, acceptor, c.opts.Datacenter)
	})
}

// peered checks that a leader calls its peering active.
func peered(ctx context.Context, leader *Agent, peer string) error {
	peering, _, err := leader.client.Peerings().Read(ctx, peer, new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("ask %s for its peering: %w", leader.Name, err)
	}
	if peering == nil || peering.State != api.PeeringStateActive {
		return fmt.Errorf("the peering of %s with %s is %+v", leader.Name, peer, peering)
	}
	return nil
}
