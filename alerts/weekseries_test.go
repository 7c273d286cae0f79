// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// event changes what exporters show from one time to another.
type event struct {
	from, to time.Duration
	// exporter is the one that sees it; all of them if empty.
	exporter string
	// change is nil while Prometheus gets nothing from the exporter.
	change func(page)
}

// history is what happens to the cluster.
type history struct {
	length, step time.Duration
	of           size
	// cluster is its name.
	cluster string
	events  []event
}

// track is the series of one sample in promtool's notation: a run has the first value, and how much each one adds.
type track struct {
	written strings.Builder
	// steps are how many of them the runs before the last one have.
	steps        int
	count        int
	value, slope float64
	missing      bool
}

// extend appends a run of values.
func (s *track) extend(count int, value, slope float64) {
	if s.count > 0 && !s.missing && slope == s.slope && value == s.value+slope*float64(s.count) {
		s.count += count
		return
	}
	s.flush()
	s.count, s.value, s.slope, s.missing = count, value, slope, false
}

// miss has the series end before a number of steps, unless it goes on after that.
func (s *track) miss(until int) {
	count := until - s.steps - s.count
	if count == 0 {
		return
	}
	if s.missing {
		s.count += count
		return
	}
	s.flush()
	s.count, s.missing = count, true
}

func (s *track) flush() {
	if s.count == 0 {
		return
	}
	if s.written.Len() > 0 {
		s.written.WriteByte(' ')
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	switch {
	case s.missing && s.steps > 0:
		s.written.WriteString("stale")
		if s.count > 1 {
			fmt.Fprintf(&s.written, " _x%d", s.count-1)
		}
	case s.missing:
		fmt.Fprintf(&s.written, "_x%d", s.count)
	case s.slope != 0:
		fmt.Fprintf(&s.written, "%s+%sx%d", number(s.value), number(s.slope), s.count-1)
	default:
		fmt.Fprintf(&s.written, "%sx%d", number(s.value), s.count-1)
	}
	s.steps += s.count
	s.count = 0
}

// rate is how much a series adds with each scrape: counters of scrapes and probes do, and so do times that are now.
func (h *history) rate(family, labels string, p page) float64 {
	switch {
	case family == "consul_exporter_scrapes_total", family == "consul_port_probes_total":
		return 1
	case family == "consul_port_probe_failures_total":
		port, reason, _ := strings.Cut(labels, `,reason="`)
		_, hangs := p["consul_port_probe_phase_duration_seconds"][port+`,phase="request"`]
		if p["consul_port_up"][port] == 0 && (strings.HasPrefix(reason, "timeout") == hangs) && reason != `tls"` {
			return 1
		}
	case isNow(family):
		return h.step.Seconds()
	}
	return 0
}

// isNow reports whether a family is the time of something that happens all the time.
func isNow(family string) bool {
	return strings.HasSuffix(family, "_last_success_timestamp_seconds") ||
		strings.HasSuffix(family, "_last_heartbeat_timestamp_seconds")
}

// series are the input of promtool: what Prometheus scrapes of these metrics.
func (h *history) series(t *testing.T, used map[string]bool) string {
	t.Helper()
	edges := []time.Duration{0, h.length}
	for _, e := range h.events {
		edges = append(edges, e.from, min(e.to, h.length))
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	tracks := make(map[string]*track)
	for exporter := range agents {
		calm := healthy(t, exporter, h.of)
		maps.DeleteFunc(calm, func(family string, _ map[string]float64) bool { return !used[family] })
		counted := make(map[string]float64)
		for i, from := range edges[:len(edges)-1] {
			first, last := int(from/h.step), int(edges[i+1]/h.step)
			p := h.seen(calm, exporter, from)
			if p["up"][""] == 0 {
				clear(counted)
			}
			for family, values := range p {
				if !used[family] {
					continue
				}
				for labels, value := range values {
					name := h.seriesName(family, labels, exporter)
					if tracks[name] == nil {
						tracks[name] = new(track)
					}
					slope := h.rate(family, labels, p)
					if isNow(family) {
						value = from.Seconds()
					} else {
						value += counted[name]
						counted[name] += slope * float64(last-first)
					}
					tracks[name].miss(first)
					tracks[name].extend(last-first, value, slope)
				}
			}
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(tracks)) {
		tracks[name].miss(int(h.length / h.step))
		tracks[name].flush()
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", name, tracks[name].written.String())
	}
	return b.String()
}

// seen is what Prometheus gets of an exporter.
func (h *history) seen(calm page, exporter string, now time.Duration) page {
	p := calm.clone()
	p.put("up", "", 1)
	for _, e := range h.events {
		if now < e.from || now >= e.to || (e.exporter != "" && e.exporter != exporter) {
			continue
		}
		if e.change == nil {
			return page{"up": {"": 0}, "scrape_duration_seconds": {"": 0}}
		}
		e.change(p)
	}
	p.put("scrape_duration_seconds", "", 0.3)
	return p
}

func (h *history) seriesName(family, labels, exporter string) string {
	if labels != "" {
		labels = "," + labels
	}
	return fmt.Sprintf(`%s{cluster="%s",datacenter="dc1",job="consul",instance="%s:9107"%s}`,
		family, h.cluster, exporter, labels)
}
