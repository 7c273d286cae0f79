// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// ServicesStatus is the health of what is registered with Consul, which says nothing about Consul's own: a cluster of
// which every service is down may be in the best of health.
type ServicesStatus struct {
	// Level is critical if all instances of a service are critical, and unknown if the catalog was not read.
	Level Level `json:"level"`
	// Verdict is one sentence in plain words.
	Verdict string `json:"verdict"`
	// Problems are those of services and nodes, worst first.
	Problems []Problem `json:"problems"`
}

// ServicesView is the part of a View that is about what is registered with Consul.
type ServicesView struct {
	// Time is when the scrape began.
	Time time.Time `json:"time"`
	// Seconds is how long the scrape took, in seconds.
	Seconds float64 `json:"seconds"`
	// Agent is the agent that was queried.
	Agent AgentStatus `json:"agent"`
	// Services is the health of what is registered with Consul.
	Services *ServicesStatus `json:"services"`
	// Catalog has the totals of what is registered with Consul; left out when it was not read.
	Catalog *verdict.Catalog `json:"catalog,omitempty"`
	// Missing lists what could not be read, and why.
	Missing []Missing `json:"missing"`
}

// ServicesOnly returns the part that is about services.
func (v *View) ServicesOnly() ServicesView {
	return ServicesView{v.Time, v.Seconds, v.Agent, v.Services, v.Catalog, v.Missing}
}

// ClusterOnly returns the view without the part that is about services.
func (v *View) ClusterOnly() View {
	only := *v
	only.Services, only.Catalog = nil, nil
	return only
}

// judgeServices judges what is registered, given its problems.
func (e *evidence) judgeServices(problems []Problem) *ServicesStatus {
	return &ServicesStatus{e.levelOfServices(problems), e.sentenceOfServices(problems), problems}
}

func (e *evidence) levelOfServices(problems []Problem) Level {
	switch {
	case e.catalog != nil && e.catalog.Down > 0:
		return LevelCritical
	case e.catalog == nil:
		return LevelUnknown
	case slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity != Info }):
		return LevelDegraded
	default:
		return LevelHealthy
	}
}

// sentenceOfServices counts what is registered, names what is down, and counts all other problems.
func (e *evidence) sentenceOfServices(problems []Problem) string {
	c := e.catalog
	if c == nil {
		return "The catalog was not read, so the health of the services is unknown."
	}
	others := len(problems)
	for _, p := range problems {
		if p.Alert == "ConsulServiceDown" || p.Alert == "ConsulServiceInstancesCritical" {
			others--
		}
	}
	return wording.Capital(wording.Join("; ",
		instancesText(c),
		wording.If(c.Down > 0, "%s no healthy instance: %s",
			wording.Plural(c.Down, "service has", "services have"), wording.ListOf(c.DownNames(), c.Down)),
		wording.If(others > 0, "there %s %s",
			wording.Word(others, "is", "are"), wording.Plural(others, "other problem", "other problems")),
	)) + "."
}

// instancesText counts the instances that are not Consul's own servers, and those of them that are not passing.
func instancesText(c *verdict.Catalog) string {
	services, total, states := c.Services, 0, ""
	if c.Own != (catalog.InstanceCounts{}) {
		services--
	}
	for status, n := range c.Own {
		total += c.Instances[catalog.Status(status).String()] - n
	}
	if services == 0 {
		return "no services but Consul's own are registered"
	}
	for _, state := range []struct {
		status catalog.Status
		words  string
	}{
		{catalog.Critical, "critical"},
		{catalog.Warning, "warning"},
		{catalog.Maintenance, "in maintenance"},
		{catalog.Unknown, "of unknown state"},
	} {
		n := c.Instances[state.status.String()] - c.Own[state.status]
		states = wording.Join(", ", states, wording.If(n > 0, "%d %s", n, state.words))
	}
	return fmt.Sprintf("%s of %s: %s%s", wording.Plural(total, "instance", "instances"),
		wording.Plural(services, "service", "services"), cmp.Or(states, "all passing"),
		wording.If(c.Summary, " (Consul's own summary)"))
}
