// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"testing"
	"time"
)

// One endpoint finds out for all others whether the agent knows the token again. If it is not asked any more, another
// one takes over.
func TestUnknownTokens(t *testing.T) {
	t.Parallel()
	var u unknownTokens
	now, refused := time.Unix(1000, 0), errors.New("refused")
	first, other := &Endpoint{Path: "/v1/catalog/nodes"}, &Endpoint{Path: "/v1/session/list"}
	self := &Endpoint{Path: "/v1/agent/self"}
	expect := func(what string, ep *Endpoint, token string, after time.Duration, waits bool) {
		t.Helper()
		if err := u.check("a:8500", ep, token, now.Add(after)); (err != nil) != waits {
			t.Errorf("%s: %s waits: %v; want %v", what, ep.Path, err, waits)
		}
	}
	u.note("a:8500", self, "t", refused, now)
	expect("one that decides about others was refused", other, "t", 0, false)
	u.note("a:8500", first, "t", refused, now)
	u.note("a:8500", other, "t", refused, now)
	expect("refused", first, "t", 0, false)
	expect("refused", other, "t", 0, true)
	expect("refused", self, "t", 0, false)
	expect("another token", other, "new", 0, false)
	expect("nobody has found out", other, "t", unknownTokenHold, false)
	u.forget("a:8500", other)
	expect("another one was answered", other, "t", 0, true)
	u.forget("a:8500", first)
	expect("the one was answered", other, "t", 0, false)
	u.note("a:8500", other, "t", refused, now)
	expect("the other was refused", first, "t", 0, true)
	u.clear()
	expect("cleared", first, "t", 0, false)
}
