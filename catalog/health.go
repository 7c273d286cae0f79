// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"slices"
	"strings"
)

// Status is the state of a check, or of a service instance by all its checks. The worst of several is the largest.
type Status uint8

// The states of health; Unknown stands for any that a later Consul may bring. Maintenance is no state in Consul: it is
// a critical check with a special ID.
const (
	Passing Status = iota
	Unknown
	Warning
	Critical
	Maintenance
)

// Statuses returns the states that there are series for.
func Statuses() []Status { return []Status{Passing, Warning, Critical, Maintenance} }

func (s Status) String() string {
	return [...]string{"passing", "unknown", "warning", "critical", "maintenance"}[s]
}

// setStatus reads the state of a check, which Consul gives as a word. A check that is registered through the catalog
// may have any: those that differ from Consul's only in case mean the same, and all others are Unknown.
func (c *Check) setStatus(word []byte) {
	for _, status := range Statuses() {
		if name := status.String(); strings.EqualFold(name, string(word)) {
			c.Status, c.Misspelled = status, name != string(word)
			return
		}
	}
	c.Status = Unknown
}

// Is reports whether Consul, which compares letter by letter, takes the check's status for this one.
func (c *Check) Is(status Status) bool { return c.Status == status && !c.Misspelled }

// The IDs of maintenance checks (Consul: structs.NodeMaint, structs.ServiceMaintPrefix).
const (
	nodeMaintenanceID        = "_node_maintenance"
	serviceMaintenancePrefix = "_service_maintenance:"
)

// InMaintenance is whether the check stands for maintenance, of its node or of its service.
func (c *Check) InMaintenance() bool {
	return c.ID == nodeMaintenanceID || strings.HasPrefix(c.ID, serviceMaintenancePrefix)
}

// gossipID is the ID of the check by which Consul knows whether a node's agent is alive (Consul: structs.SerfCheckID).
const gossipID = "serfHealth"

// OfGossip is whether the check is the one by which Consul knows whether the node's agent is alive.
func (c *Check) OfGossip() bool { return c.ID == gossipID && c.ServiceID == "" }

// Gone reports whether the node's agent failed, and with it mostly the whole node.
func (n *Node) Gone() bool {
	return slices.ContainsFunc(n.Checks, func(c Check) bool { return c.OfGossip() && c.Status == Critical })
}

// Lost counts the critical instances by service if the node is gone. They are critical whatever their own checks say.
func (n *Node) Lost() map[string]int {
	if !n.Gone() {
		return nil
	}
	lost := make(map[string]int)
	for i := range n.Instances {
		if n.Instances[i].Status == Critical {
			lost[n.Instances[i].Service]++
		}
	}
	return lost
}

// health is what the check says about a service instance.
func (c *Check) health() Status {
	if c.InMaintenance() {
		return Maintenance
	}
	return c.Status
}
