// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build prove

package responder_test

import (
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/responder"
)

// Killed again and again, each time at a random moment of an action, the responder never makes the action a second
// time, and the history can be read.
func TestProveResponderKilled(t *testing.T) {
	const rounds = 90 // All rules together may act 100 times in an hour.
	h := startHookResponder(t)
	results := h.killAnytime(t, rounds, proof.Random(t))
	h.expectReadable(t)
	proof.Record(t, "killed, and started again", rounds)
	for _, result := range []responder.Result{responder.ResultDone, responder.ResultUnknown, responder.ResultTimeout} {
		proof.Record(t, "actions with the result "+string(result), results[result])
	}
	if results[responder.ResultDone] == 0 || results[responder.ResultUnknown] == 0 {
		t.Errorf("results %v; want kills during actions and after them", results)
	}
}
