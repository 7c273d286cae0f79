// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import "slices"

// Right is something that a token may be allowed to do, in the words of Consul's ACL rules. The zero value is no
// right.
type Right struct {
	Resource string
	// Segment is the name of the node or the prefix of the keys; empty for rights that are not about one.
	Segment string `json:",omitempty"`
	Access  string
}

// The rights to read what operators see, and peerings.
var (
	OperatorRead = Right{Resource: "operator", Access: "read"}
	PeeringRead  = Right{Resource: "peering", Access: "read"}
)

// AgentRead is the right to read what an agent says about itself; an empty name stands for any agent.
func AgentRead(node string) Right { return Right{"agent", node, "read"} }

// KeyList is the right to list keys, which Consul only demands with acl.enable_key_list_policy.
func KeyList(prefix string) Right { return Right{"key", prefix, "list"} }

// String is "operator:read", or "agent:read on server-1".
func (r Right) String() string {
	if r.Segment == "" {
		return r.Resource + ":" + r.Access
	}
	return r.Resource + ":" + r.Access + " on " + r.Segment
}

// DeniedError means that the token lacks a right. It is an ErrRefused, and Consul was not asked.
type DeniedError struct{ Missing Right }

func (e DeniedError) Error() string {
	return ErrRefused.Error() + ": permission denied: the token lacks " + e.Missing.String()
}

// Is makes it an ErrRefused.
func (DeniedError) Is(err error) bool { return err == ErrRefused }

// Rights are those that a token was asked for; nil if they are not known.
type Rights map[Right]bool

// Lacks reports whether the token is known to be without a right.
func (r Rights) Lacks(wanted Right) bool {
	allowed, known := r[wanted]
	return known && !allowed
}

// LacksAll reports whether the token is known to be without any of the rights.
func (r Rights) LacksAll(wanted []Right) bool {
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w Right) bool { return !r.Lacks(w) })
}
