// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"
)

// JoinWAN federates two clusters, which are different datacenters, and waits until every server of both sees all of
// them in the WAN pool and gets answers from both datacenters. With Options.TLS that would take one authority for
// both.
func (c *Cluster) JoinWAN(ctx context.Context, other *Cluster) error {
	if err := c.Servers[0].client.Agent().Join(other.Servers[0].Addr, true); err != nil {
		return fmt.Errorf("join two clusters by WAN: %w", err)
	}
	servers := slices.Concat(c.Servers, other.Servers)
	return pollEach(ctx, "two datacenters", servers, func(ctx context.Context, server *Agent) error {
		members, err := server.client.Agent().Members(true)
		if err != nil {
			return err
		}
		if err := expectAlive(members, len(servers)); err != nil {
			return err
		}
		// A server finds a way to the others some time after it lists them.
		for _, datacenter := range []string{c.opts.Datacenter, other.opts.Datacenter} {
			options := read(ctx)
			options.Datacenter = datacenter
			if _, _, err := server.client.Catalog().Nodes(options); err != nil {
				return fmt.Errorf("ask for the nodes of %s: %w", datacenter, err)
			}
		}
		return nil
	})
}

// Peer peers two clusters, which are different datacenters, by whose names they know each other, and waits until both
// call the peering active.
func (c *Cluster) Peer(ctx context.Context, other *Cluster) error {
	dialer, err := c.WaitLeader(ctx)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	acceptor, err := other.WaitLeader(ctx)
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	// Right after their elections, leaders may still lack what both calls need. On a busy machine a call takes more than
	// the second of a look.
	err = Poll(ctx, "a peering", func(context.Context) error {
		offer := api.PeeringGenerateTokenRequest{PeerName: c.opts.Datacenter}
		token, _, err := acceptor.client.Peerings().GenerateToken(ctx, offer, write(ctx))
		if err != nil {
			return fmt.Errorf("generate a peering token at %s: %w", acceptor, err)
		}
		request := api.PeeringEstablishRequest{PeerName: other.opts.Datacenter, PeeringToken: token.PeeringToken}
		if _, _, err := dialer.client.Peerings().Establish(ctx, request, write(ctx)); err != nil {
			return fmt.Errorf("establish a peering at %s: %w", dialer, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	peers := map[*Agent]string{dialer: other.opts.Datacenter, acceptor: c.opts.Datacenter}
	return pollEach(ctx, "an active peering", []*Agent{dialer, acceptor}, func(ctx context.Context, leader *Agent) error {
		peering, _, err := leader.client.Peerings().Read(ctx, peers[leader], read(ctx))
		if err == nil && (peering == nil || peering.State != api.PeeringStateActive) {
			err = fmt.Errorf("the peering with %s is %+v", peers[leader], peering)
		}
		return err
	})
}
