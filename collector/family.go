// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
)

// desc defines a family: what is the same for all of its series.
type desc struct {
	name   string
	help   string
	kind   dto.MetricType
	labels []string
}

// definitions are the families of one collector. Families are defined only through it, so that documentation and tests
// know all of them.
type definitions struct {
	all []*desc
	// settings are for the collector that is made.
	settings Settings
}

func (d *definitions) gauge(name, help string, labels ...string) *desc {
	return d.add(&desc{name, help, dto.MetricType_GAUGE, labels})
}

func (d *definitions) counter(name, help string, labels ...string) *desc {
	return d.add(&desc{name, help, dto.MetricType_COUNTER, labels})
}

func (d *definitions) add(family *desc) *desc {
	d.all = append(d.all, family)
	return family
}

// families is what one collector fills during one scrape. It is not safe for concurrent use.
type families struct {
	byDesc map[*desc]*family
	pairs  map[pairKey]*dto.LabelPair
	// dropped counts the series that were there already.
	dropped uint64
}

// pairKey is a label; the pair for it is made once and shared by all series of the scrape that have it.
type pairKey struct{ name, value string }

// family is a desc with its series.
type family struct {
	desc    *desc
	metrics []*dto.Metric
	// seen finds a series by the hash of its label values.
	seen map[uint64]int
	// slab is the memory for the next series: one allocation serves many.
	slab []series
	refs []*dto.LabelPair
}

// series is a dto.Metric with all it points to but the labels.
type series struct {
	metric  dto.Metric
	gauge   dto.Gauge
	counter dto.Counter
	value   float64
}

const (
	firstSlab = 4
	largeSlab = 512
)

var hashSeed = maphash.MakeSeed()

func newFamilies() *families {
	return &families{byDesc: make(map[*desc]*family), pairs: make(map[pairKey]*dto.LabelPair)}
}

// add adds a series. A second one with the same label values is dropped and counted: it must never fail the scrape.
// Values that are not valid UTF-8 are made so, as no text format can carry them.
func (fs *families) add(d *desc, value float64, labelValues ...string) {
	if len(labelValues) != len(d.labels) {
		panic("collector: " + d.name + " has other labels than it is defined with") // Found by the first test that gets here.
	}
	f := fs.byDesc[d]
	if f == nil {
		f = &family{desc: d, seen: make(map[uint64]int)}
		fs.byDesc[d] = f
	}
	for i, v := range labelValues {
		if !utf8.ValidString(v) {
			labelValues[i] = strings.ToValidUTF8(v, "\uFFFD")
		}
	}
	hash := hashValues(labelValues)
	if i, ok := f.seen[hash]; ok && hasValues(f.metrics[i], labelValues) {
		fs.dropped++
		return
	}
	f.seen[hash] = len(f.metrics)

	s := f.newSeries()
	s.value = value
	if d.kind == dto.MetricType_COUNTER {
		s.counter.Value = &s.value
		s.metric.Counter = &s.counter
	} else {
		s.gauge.Value = &s.value
		s.metric.Gauge = &s.gauge
	}
	s.metric.Label = f.newLabels(len(labelValues))
	for i, v := range labelValues {
		s.metric.Label[i] = fs.pair(d.labels[i], v)
	}
	f.metrics = append(f.metrics, &s.metric)
}

// flag adds a series that is 1 or 0.
func (fs *families) flag(d *desc, value bool, labelValues ...string) {
	if value {
		fs.add(d, 1, labelValues...)
	} else {
		fs.add(d, 0, labelValues...)
	}
}

func (fs *families) pair(name, value string) *dto.LabelPair {
	key := pairKey{name, value}
	p := fs.pairs[key]
	if p == nil {
		p = &dto.LabelPair{Name: &key.name, Value: &key.value}
		fs.pairs[key] = p
	}
	return p
}

func (f *family) newSeries() *series {
	if len(f.slab) == 0 {
		f.slab = make([]series, nextSlab(len(f.metrics)))
	}
	s := &f.slab[0]
	f.slab = f.slab[1:]
	return s
}

func (f *family) newLabels(n int) []*dto.LabelPair {
	if len(f.refs) < n {
		f.refs = make([]*dto.LabelPair, n*nextSlab(len(f.metrics)))
	}
	labels := f.refs[:n:n]
	f.refs = f.refs[n:]
	return labels
}

// nextSlab doubles the family, within bounds.
func nextSlab(have int) int { return min(max(have, firstSlab), largeSlab) }

func hashValues(values []string) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for _, v := range values {
		_, _ = h.WriteString(v)
		_ = h.WriteByte(0xff) // In no valid UTF-8, so that ("a", "b") and ("ab", "") differ.
	}
	return h.Sum64()
}

// hasValues guards against two label sets with the same hash.
func hasValues(m *dto.Metric, values []string) bool {
	for i, p := range m.Label {
		if p.GetValue() != values[i] {
			return false
		}
	}
	return true
}

// proto returns the families for encoding, by name; series are in the order in which they were added.
func (fs *families) proto() []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(fs.byDesc))
	for d, f := range fs.byDesc {
		out = append(out, &dto.MetricFamily{Name: &d.name, Help: &d.help, Type: &d.kind, Metric: f.metrics})
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}
