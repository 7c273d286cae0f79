// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"slices"
	"strings"
)

// Answerer is who answers an endpoint.
type Answerer int

// Who answers.
const (
	// ByState: the server that the agent asks, or the agent if it is a server, from the state that it has. A server that
	// has not heard of a leader since it started has none: it holds the request until there is a leader, for seven
	// seconds, and then logs an error (Consul: Server.canServeReadRequest).
	ByState Answerer = iota
	// ByAgent: the agent by itself, whatever the servers do.
	ByAgent
	// ByAnyServer: any server at once, with or without a leader.
	ByAnyServer
	// ByLeader: the leader. Without one, servers hold the request for seven seconds and then log an error.
	ByLeader
)

// Feature is a part of Consul that can be switched off.
type Feature string

// The features that endpoints need.
const (
	FeatureACLs    Feature = "ACLs"
	FeatureMesh    Feature = "the service mesh"
	FeaturePeering Feature = "cluster peering"
)

// Requirement is what it takes to have an endpoint answered.
type Requirement struct {
	// Path is that of the endpoint, or what it begins with if it ends with a slash.
	Path    string
	By      Answerer
	Needs   Right
	Feature Feature
}

// requirements of the endpoints; the first one that matches holds. Endpoints that are not here are answered ByState,
// and filtered by the token's rights but never refused.
var requirements = []Requirement{
	{Path: "/v1/agent/self", By: ByAgent, Needs: AgentRead("")},
	{Path: "/v1/agent/metrics", By: ByAgent, Needs: AgentRead("")},
	{Path: "/v1/agent/", By: ByAgent},
	{Path: "/v1/internal/acl/authorize", By: ByAgent},
	{Path: "/v1/status/", By: ByAnyServer},
	{Path: "/v1/catalog/datacenters", By: ByAnyServer},
	{Path: "/v1/acl/replication", By: ByLeader, Feature: FeatureACLs},
	{Path: "/v1/connect/ca/roots", Feature: FeatureMesh},
	{Path: "/v1/peerings", By: ByLeader, Needs: PeeringRead, Feature: FeaturePeering},
	{Path: "/v1/operator/", Needs: OperatorRead},
	{Path: "/v1/internal/ui/catalog-overview", Needs: OperatorRead},
}

// Requirement returns that of the endpoint.
func (ep *Endpoint) Requirement() Requirement {
	i := slices.IndexFunc(requirements, func(r Requirement) bool {
		return r.Path == ep.Path || (strings.HasSuffix(r.Path, "/") && strings.HasPrefix(ep.Path, r.Path))
	})
	if i < 0 {
		return Requirement{}
	}
	return requirements[i]
}

// AnsweredBy returns who answers the endpoint with the consistency that is asked for.
func (ep *Endpoint) AnsweredBy() Answerer {
	by := ep.Requirement().By
	if by == ByState && ep.Consistency != "" && ep.Consistency != ConsistencyStale {
		return ByLeader
	}
	return by
}
