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

// meshFaults are faults of the service mesh, of gossip's encryption and of peerings.
var meshFaults = []fault{
	{
		act: "mesh and gossip", cluster: "mesh", options: consultest.Options{Servers: 1}, asked: "server-1",
		name:   "the root certificate of the service mesh expires in five hours",
		breaks: newRoot("rsa", 2048, "5h"), repairs: newRoot("ec", 256, "87600h"),
		alerts: []wantAlert{critical("ConsulCARootExpires", "*"), held(warning("ConsulCARootExpires", "*"))},
	},
	{
		act: "mesh and gossip", cluster: "gossip", options: consultest.Options{Servers: 1, Clients: 1},
		asked:  "server-1 client-1",
		name:   "encryption of gossip is turned on for one of two agents",
		breaks: encrypt("client-1"), repairs: encrypt("server-1"), // In the end it is on for both.
		alerts: []wantAlert{warning("ConsulGossipEncryptionDiffers", "")},
	},
	{
		act: "mesh and gossip", cluster: "peered", asked: "server-1", prepare: establishPeering,
		options: consultest.Options{Servers: 1, Datacenter: "dc2"},
		name:    "the other cluster deletes a peering",
		breaks:  func(t *testing.T, w *world) { deletePeering(t, w.peer, "west") },
		repairs: func(t *testing.T, w *world) { deletePeering(t, w.Servers[0], "east") },
		alerts:  []wantAlert{warning("ConsulPeeringDown", "peer=east state=terminated")},
	},
}

// newRoot changes the type of the authority's key, upon which it makes a new root certificate.
func newRoot(keyType string, bits int, lifetime string) step {
	return onAgents(func(a *consultest.Agent) error {
		_, err := a.Client().Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: map[string]any{
			"PrivateKeyType": keyType, "PrivateKeyBits": bits,
			"LeafCertTTL": "1h", "IntermediateCertTTL": "4h", "RootCertTTL": lifetime,
		}}, nil)
		return err
	}, "server-1")
}

// encrypt turns encryption on for an agent.
func encrypt(name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		a := w.agent(t, name)
		harness.Must(t, a.Configure(map[string]any{
			"encrypt":                 base64.StdEncoding.EncodeToString(make([]byte, 32)),
			"encrypt_verify_incoming": false, "encrypt_verify_outgoing": false,
		}))
		harness.Must(t, a.Restart(harness.Soon(t)))
	}
}

// establishPeering starts another cluster, east, and peers the scene's with it.
func establishPeering(t *testing.T, w *world) []string {
	t.Helper()
	w.peer = consultest.Start(t, consultest.Options{Servers: 1}).Servers[0]
	request := api.PeeringGenerateTokenRequest{PeerName: "west"}
	token, _, err := w.peer.Client().Peerings().GenerateToken(harness.Soon(t), request, nil)
	harness.Must(t, err)
	west := w.Servers[0].Client().Peerings()
	establish := api.PeeringEstablishRequest{PeerName: "east", PeeringToken: token.PeeringToken}
	_, _, err = west.Establish(harness.Soon(t), establish, nil)
	harness.Must(t, err)
	harness.WaitFor(t, 60*time.Second, "the peering to be active", func() string {
		peering, _, err := west.Read(harness.Soon(t), "east", nil)
		harness.Must(t, err)
		if peering.State != api.PeeringStateActive {
			return string(peering.State)
		}
		return ""
	})
	return nil
}

func deletePeering(t *testing.T, a *consultest.Agent, peer string) {
	t.Helper()
	_, err := a.Client().Peerings().Delete(harness.Soon(t), peer, nil)
	harness.Must(t, err)
}
