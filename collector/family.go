// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/memory"
)

// desc defines a family: what is the same for all of its series.
type desc struct {
	name   string
	help   string
	kind   dto.MetricType
	labels []string
}

// definitions are the families of one collector. Every family is defined through it, so that documentation and tests
// know it.
type definitions struct {
	all []*desc
	// settings and memory are for the collector that is made. reads is whether it may use the linearizable read.
	settings Settings
	memory   *memory.Memory
	reads    bool
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

// maxLabels is the largest number of labels of a family.
const maxLabels = 5

// families is what one collector fills during one scrape. It is not safe for concurrent use. As a catalog has
// hundreds of thousands of series, labels are shared by all series of a scrape, and memory is allocated in slabs.
type families struct {
	byDesc map[*desc]*family
	labels map[labelKey]*label
	// dropped counts the series that were there already.
	dropped uint64

	pairs   slab[label]
	metrics slab[dto.Metric]
	refs    slab[*dto.LabelPair]
	numbers slab[number]
	// binary are the values 0 and 1, which most series have.
	binary [2]number
}

// labelKey is a label of a series.
type labelKey struct{ name, value string }

// label is shared by all series of the scrape.
type label struct {
	pair        dto.LabelPair
	name, value string
	// id is unique among the labels of the scrape.
	id uint32
}

// family is a desc with its series.
type family struct {
	desc    *desc
	metrics []*dto.Metric
	seen    map[seriesKey]struct{}
}

// seriesKey identifies a series of a family by the ids of its labels.
type seriesKey [maxLabels]uint32

// number is the value of a series.
type number struct {
	value   float64
	gauge   dto.Gauge
	counter dto.Counter
}

func newFamilies() *families {
	fs := &families{byDesc: make(map[*desc]*family), labels: make(map[labelKey]*label)}
	for i := range fs.binary {
		fs.binary[i].set(float64(i))
	}
	return fs
}

// expect makes room for this many labels.
func (fs *families) expect(labels int) {
	fs.labels = make(map[labelKey]*label, labels)
}

// expectSeries makes room for this many series, of which groups differ in more than their state.
func (fs *families) expectSeries(d *desc, series, groups int) {
	fs.byDesc[d] = &family{desc: d, seen: make(map[seriesKey]struct{}, groups), metrics: make([]*dto.Metric, 0, series)}
}

// merge takes over the families of others, which have none of the same.
func (fs *families) merge(others *families) {
	maps.Copy(fs.byDesc, others.byDesc)
	fs.dropped += others.dropped
}

func (n *number) set(value float64) {
	n.value = value
	n.gauge.Value, n.counter.Value = &n.value, &n.value
}

// label returns the label of this name and value.
func (fs *families) label(name, value string) *label {
	if l := fs.labels[labelKey{name, value}]; l != nil {
		return l
	}
	return fs.newLabel(name, value)
}

// newLabel makes a label. Values that are not valid UTF-8 are made so, as no text format can carry them.
func (fs *families) newLabel(name, value string) *label {
	if !utf8.ValidString(value) {
		return fs.label(name, strings.ToValidUTF8(value, "\uFFFD"))
	}
	l := &fs.pairs.next(1)[0]
	l.id, l.name, l.value = uint32(len(fs.labels)), name, value
	l.pair.Name, l.pair.Value = &l.name, &l.value
	fs.labels[labelKey{name, value}] = l
	return l
}

// add adds a series. A second one with the same labels is dropped and counted: it must not fail the scrape.
func (fs *families) add(d *desc, value float64, labelValues ...string) {
	if len(labelValues) != len(d.labels) {
		panic("collector: " + d.name + " has other labels than it is defined with") // Found by the first test that gets here.
	}
	var labels [maxLabels]*label
	for i, v := range labelValues {
		labels[i] = fs.label(d.labels[i], v)
	}
	fs.addLabels(d, value, labels[:len(labelValues)]...)
}

// addLabels is add for callers that have the labels already, in the order of the desc.
func (fs *families) addLabels(d *desc, value float64, labels ...*label) {
	f := fs.family(d)
	if f.has(labels) {
		fs.dropped++
		return
	}
	fs.append(f, value, labels, nil)
}

// addStates adds a series for each state, 1 where is says so and 0 elsewhere. State is the last label of the desc. A
// second set with the same other labels is dropped.
func (fs *families) addStates(d *desc, states []*label, is func(state int) bool, labels ...*label) {
	f := fs.family(d)
	if f.has(labels) {
		fs.dropped += uint64(len(states))
		return
	}
	for i, state := range states {
		fs.append(f, binary(is(i)), labels, state)
	}
}

// append adds a series that is not there yet. The last label may be nil.
func (fs *families) append(f *family, value float64, labels []*label, last *label) {
	m := &fs.metrics.next(1)[0]
	if n := fs.number(value); f.desc.kind == dto.MetricType_COUNTER {
		m.Counter = &n.counter
	} else {
		m.Gauge = &n.gauge
	}
	m.Label = fs.refs.next(len(f.desc.labels))
	for i, l := range labels {
		m.Label[i] = &l.pair
	}
	if last != nil {
		m.Label[len(labels)] = &last.pair
	}
	f.metrics = append(f.metrics, m)
}

// flag adds a series that is 1 or 0.
func (fs *families) flag(d *desc, value bool, labelValues ...string) {
	fs.add(d, binary(value), labelValues...)
}

// instant adds a series that is a point in time, unless that never was.
func (fs *families) instant(d *desc, at time.Time, labelValues ...string) {
	if !at.IsZero() {
		fs.add(d, unixSeconds(at), labelValues...)
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func binary(value bool) float64 {
	if value {
		return 1
	}
	return 0
}

func (fs *families) family(d *desc) *family {
	f := fs.byDesc[d]
	if f == nil {
		f = &family{desc: d, seen: make(map[seriesKey]struct{})}
		fs.byDesc[d] = f
	}
	return f
}

// has reports whether there is a series with these labels already; from now on there is.
func (f *family) has(labels []*label) bool {
	var key seriesKey
	for i, l := range labels {
		key[i] = l.id
	}
	before := len(f.seen)
	f.seen[key] = struct{}{}
	return len(f.seen) == before
}

func (fs *families) number(value float64) *number {
	if value == 0 || value == 1 {
		return &fs.binary[int(value)]
	}
	n := &fs.numbers.next(1)[0]
	n.set(value)
	return n
}

// slab is memory for many values: one allocation serves more and more, within bounds.
type slab[T any] struct {
	free []T
	size int
}

const (
	firstSlab = 8
	largeSlab = 1024
)

// next returns memory for n values, at most largeSlab.
func (s *slab[T]) next(n int) []T {
	if len(s.free) < n {
		s.size = max(n, min(max(2*s.size, firstSlab), largeSlab))
		s.free = make([]T, s.size)
	}
	values := s.free[:n:n]
	s.free = s.free[n:]
	return values
}

// proto returns the families for encoding, by name; series are in the order in which they were added.
func (fs *families) proto() []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(fs.byDesc))
	for d, f := range fs.byDesc {
		if len(f.metrics) == 0 {
			continue
		}
		out = append(out, &dto.MetricFamily{Name: &d.name, Help: &d.help, Type: &d.kind, Metric: f.metrics})
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}
