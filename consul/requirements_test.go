// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"testing"
)

func TestEndpoint_AnsweredBy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ep    Endpoint
		by    Answerer
		needs string
	}{
		{Endpoint{Path: "/v1/agent/self"}, ByAgent, "agent:read"},
		{Endpoint{Path: "/v1/agent/checks"}, ByAgent, ":"},
		{Endpoint{Path: "/v1/status/leader"}, ByAnyServer, ":"},
		{Endpoint{Path: "/v1/catalog/nodes"}, ByState, ":"},
		{Endpoint{Path: "/v1/catalog/nodes", Consistency: ConsistencyDefault}, ByLeader, ":"},
		{Endpoint{Path: "/v1/peerings", Consistency: ConsistencyStale}, ByLeader, "peering:read"},
		{Endpoint{Path: "/v1/operator/license"}, ByState, "operator:read"},
	} {
		if by, needs := tc.ep.AnsweredBy(), tc.ep.Requirement().Needs.String(); by != tc.by || needs != tc.needs {
			t.Errorf("%+v is answered by %d and needs %s; want %d and %s", tc.ep, by, needs, tc.by, tc.needs)
		}
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	a, keys := AgentRead("a"), KeyList("config/")
	r := Rights{a: false, OperatorRead: true}
	if !r.Lacks(a) || r.Lacks(OperatorRead) || r.Lacks(keys) {
		t.Errorf("%v lacks something else than %s", r, a)
	}
	if !r.LacksAll([]Right{a}) || r.LacksAll([]Right{a, keys}) || r.LacksAll(nil) {
		t.Errorf("%v lacks all of something else than %s", r, a)
	}
	err := error(DeniedError{Missing: keys})
	const want = "refused: permission denied: the token lacks key:list on config/"
	if !errors.Is(err, ErrRefused) || !IsDenied(err) || err.Error() != want {
		t.Errorf("error %v; want a refusal for want of rights: %s", err, want)
	}
}

func TestAnyOf(t *testing.T) {
	t.Parallel()
	if pattern, ok := AnyOf([]string{"10.0.0.1", "db-1"}); !ok || pattern != `^(?:10\.0\.0\.1|db-1)$` {
		t.Errorf("pattern %s, %v", pattern, ok)
	}
	if _, ok := AnyOf([]string{"a`b"}); ok {
		t.Error("a pattern with a backquote can be written")
	}
	if _, ok := AnyOf(make([]string, maxPatternBytes)); ok {
		t.Error("a pattern may have any length")
	}
	if Filtered("") != nil || Filtered("x").Get("filter") != "x" {
		t.Error("a filter is not a parameter")
	}
}
