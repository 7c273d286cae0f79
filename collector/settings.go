// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "regexp"

// Settings say what of all that Consul holds is exported.
type Settings struct {
	Catalog CatalogSettings
	// KVFilter selects keys; nil means all.
	KVFilter *regexp.Regexp
}

// CatalogSettings say which series the catalog collector exports. Each expression selects what it matches anywhere
// in; nil means all. Totals count what is not selected, too.
type CatalogSettings struct {
	// HealthSummary is whether there are the families of instances: health, tags and meta.
	HealthSummary bool
	// Instances is whether instances are counted by service and status.
	Instances bool
	// MaxSeries is how many series there may be before all but the totals are left out; 0 means any number.
	MaxSeries int
	// Services, Nodes and Tags select by name, Checks by ID or name.
	Services, Nodes, Tags, Checks *regexp.Regexp
	// Meta selects keys of service meta; nil means none, as they are many and seldom wanted.
	Meta *regexp.Regexp
}

// DefaultSettings returns those of an exporter without options.
func DefaultSettings() Settings {
	return Settings{Catalog: CatalogSettings{HealthSummary: true, Instances: true, MaxSeries: DefaultMaxSeries}}
}

// DefaultMaxSeries is twice what 24,000 service instances have.
const DefaultMaxSeries = 500_000
