// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// rootExpires is the root certificate of the service mesh: an authority with a key of another type makes a new one.
func rootExpires(t *testing.T, s *alertStack) []outage {
	t.Helper()
	server := consultest.Start(t, consultest.Options{Servers: 1}).Servers[0]
	s.exporter(t, "mesh", "--consul.server="+server.URL())
	authority := func(keyType string, bits int, lifetime string) func() {
		return func() {
			_, err := server.Client().Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: map[string]any{
				"PrivateKeyType": keyType, "PrivateKeyBits": bits,
				"LeafCertTTL": "1h", "IntermediateCertTTL": "4h", "RootCertTTL": lifetime,
			}}, nil)
			harness.Must(t, err)
		}
	}
	return one("mesh", "the root certificate of the service mesh expires in five hours", authority("rsa", 2048, "5h"), authority("ec", 256, "87600h"))
}

// gossipEncrypted is a cluster in which encryption is turned on for one agent, and in the end for all.
func gossipEncrypted(t *testing.T, s *alertStack) []outage {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	s.exporter(t, "gossip", "--consul.server="+c.Servers[0].URL())
	s.exporter(t, "gossip", "--consul.server="+c.Clients[0].URL())
	encrypt := func(a *consultest.Agent) func() {
		return func() {
			harness.Must(t, a.Configure(map[string]any{
				"encrypt":                 base64.StdEncoding.EncodeToString(make([]byte, 32)),
				"encrypt_verify_incoming": false, "encrypt_verify_outgoing": false,
			}))
			restart(t, a)
		}
	}
	return one("gossip", "encryption of gossip is turned on for one of two agents", encrypt(c.Clients[0]), encrypt(c.Servers[0]))
}

// peeringTerminated is a peering that the other cluster has deleted.
func peeringTerminated(t *testing.T, s *alertStack) []outage {
	t.Helper()
	east := consultest.Start(t, consultest.Options{Servers: 1}).Servers[0]
	west := consultest.Start(t, consultest.Options{Servers: 1, Datacenter: "dc2"}).Servers[0]
	s.exporter(t, "peered", "--consul.server="+west.URL())
	token, _, err := east.Client().Peerings().GenerateToken(harness.Soon(t), api.PeeringGenerateTokenRequest{PeerName: "west"}, nil)
	harness.Must(t, err)
	_, _, err = west.Client().Peerings().Establish(harness.Soon(t), api.PeeringEstablishRequest{PeerName: "east", PeeringToken: token.PeeringToken}, nil)
	harness.Must(t, err)
	harness.WaitFor(t, 60*time.Second, "the peering to be active", func() string {
		peering, _, err := west.Client().Peerings().Read(harness.Soon(t), "east", nil)
		harness.Must(t, err)
		if peering.State != api.PeeringStateActive {
			return string(peering.State)
		}
		return ""
	})
	remove := func(a *consultest.Agent, peer string) func() {
		return func() {
			_, err := a.Client().Peerings().Delete(harness.Soon(t), peer, nil)
			harness.Must(t, err)
		}
	}
	return one("peered", "the other cluster deletes a peering", remove(east, "west"), remove(west, "east"))
}
