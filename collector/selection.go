// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"iter"
	"regexp"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/catalog"
)

// selection is what of a catalog has series, during one scrape.
type selection struct {
	services, nodes, tags, checks, meta selector
}

func newSelection(s *CatalogSettings) *selection {
	meta := newSelector(s.Meta)
	meta.none = s.Meta == nil
	return &selection{newSelector(s.Services), newSelector(s.Nodes), newSelector(s.Tags), newSelector(s.Checks), meta}
}

// nodesOf are the selected nodes.
func (s *selection) nodesOf(all *catalog.Catalog) iter.Seq[*catalog.Node] {
	return func(yield func(*catalog.Node) bool) {
		for i := range all.Nodes {
			if n := &all.Nodes[i]; s.nodes.has(n.Name) && !yield(n) {
				return
			}
		}
	}
}

// tag reports whether an instance's tag has a series. One that comes twice has one.
func (s *selection) tag(in *catalog.Instance, i int) bool {
	return s.tags.has(in.Tags[i]) && !slices.Contains(in.Tags[:i], in.Tags[i])
}

// measure adds the series that an instance has: one for its health, and one for each tag and entry of meta.
func (s *selection) measure(in *catalog.Instance, size *catalogSize) {
	if !s.services.has(in.Service) {
		return
	}
	size.instances++
	for i := range in.Tags {
		if s.tag(in, i) {
			size.tags++
		}
	}
	for _, m := range in.Meta {
		if s.meta.has(m.Key) {
			size.meta++
		}
	}
}

// check reports whether a check has series; those of services that have none have none either.
func (s *selection) check(c *catalog.Check) bool {
	return (s.checks.has(c.ID) || s.checks.has(c.Name)) && (c.ServiceID == "" || s.services.has(c.ServiceName))
}

// selector selects texts. It remembers its answers, as names come again and again.
type selector struct {
	expression *regexp.Regexp // nil selects all.
	none       bool           // Selects nothing.
	known      map[string]bool
}

func newSelector(expression *regexp.Regexp) selector {
	return selector{expression: expression, known: make(map[string]bool)}
}

func (s *selector) has(text string) bool {
	if s.expression == nil || s.none {
		return !s.none
	}
	selected, ok := s.known[text]
	if !ok {
		selected = s.expression.MatchString(text)
		s.known[text] = selected
	}
	return selected
}
