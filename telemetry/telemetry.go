// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package telemetry reads what an agent of Consul has measured of itself.
package telemetry

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Figures are what an agent measured of itself in its last full interval of ten seconds. Names are those of Consul's
// documentation without "consul.", such as "rpc.request".
type Figures struct {
	config            Config
	gauges            map[string]float64
	counters, samples map[string][]Measurement
	measured          bool // Whether there is anything at all; an agent that has just started has nothing.
}

// Measurement sums up the values of a sample or counter during the interval.
type Measurement struct {
	Labels map[string]string
	// Rate is the sum of the values per second.
	Rate, Sum, Max, Mean float64
}

// Answer is the part of the answer of /v1/agent/metrics that is used.
type Answer struct {
	Gauges            []gauge
	Counters, Samples []namedMeasurement
}

type gauge struct {
	Name  string
	Value float64
}

type namedMeasurement struct {
	Name string
	Measurement
}

// Config is the agent's configuration of its telemetry, as /v1/agent/self tells it.
type Config struct {
	MetricsPrefix                    string
	FilterDefault                    *bool
	AllowedPrefixes, BlockedPrefixes []string
}

// Decode reads the answer part by part.
func (a *Answer) Decode(d *consul.JSONReader) error {
	return d.Object(func(key []byte) error {
		switch string(key) {
		case "Gauges":
			return decodeMeasured(d, &a.Gauges)
		case "Counters":
			return decodeMeasured(d, &a.Counters)
		case "Samples":
			return decodeMeasured(d, &a.Samples)
		default:
			return d.SkipValue()
		}
	})
}

// labelsFactor bounds how many times more memory labels take than they have letters.
const labelsFactor = 8

func decodeMeasured[T any](d *consul.JSONReader, list *[]T) error {
	return d.List(func() error {
		var v T
		before := d.InputOffset()
		err := d.Element(&v)
		if err == nil {
			err = d.Memory.Spend(labelsFactor * (d.InputOffset() - before))
		}
		if err == nil {
			*list, err = consul.Keep(d.Memory, *list, v)
		}
		return err
	})
}

// Figures returns the figures in the answer of an agent with this configuration.
func (a *Answer) Figures(config *Config) Figures {
	prefix := config.prefix()
	f := Figures{
		config:   *config,
		gauges:   make(map[string]float64),
		counters: byName(a.Counters, prefix),
		samples:  byName(a.Samples, prefix),
		measured: len(a.Gauges)+len(a.Counters)+len(a.Samples) > 0,
	}
	for _, g := range a.Gauges {
		if name, ok := strings.CutPrefix(g.Name, prefix); ok && finite(g.Value) {
			f.gauges[name] = g.Value
		}
	}
	return f
}

// byName returns the measurements by their names without the prefix.
func byName(all []namedMeasurement, prefix string) map[string][]Measurement {
	named := make(map[string][]Measurement)
	for _, m := range all {
		if name, ok := strings.CutPrefix(m.Name, prefix); ok && m.valid() {
			named[name] = append(named[name], m.Measurement)
		}
	}
	return named
}

// valid reports whether all figures are numbers that can be: nothing that is looked up is ever negative.
func (m *Measurement) valid() bool {
	return !slices.ContainsFunc([]float64{m.Rate, m.Sum, m.Max, m.Mean}, func(v float64) bool {
		return !finite(v) || v < 0
	})
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Gauge returns a gauge that the agent set in the interval. By default, agents put their host name before the names
// of gauges: "consul.web-1.example.runtime.alloc_bytes" (Consul: telemetry.disable_hostname).
func (f *Figures) Gauge(name string) (value float64, ok bool) {
	if value, ok = f.gauges[name]; ok {
		return value, true
	}
	for full, v := range f.gauges {
		if host, found := strings.CutSuffix(full, "."+name); found && host != "" {
			return v, true
		}
	}
	return 0, false
}

// Rate returns how often something was counted per second, with all labels together. Consul only reports what it did
// count: what is missing was not counted, unless the agent's filter leaves it out or the agent has not measured yet.
func (f *Figures) Rate(name string) (perSecond float64, ok bool) {
	return f.total(name, func(m *Measurement) float64 { return m.Rate })
}

// Sum returns how often something was counted in the interval; see Rate.
func (f *Figures) Sum(name string) (sum float64, ok bool) {
	return f.total(name, func(m *Measurement) float64 { return m.Sum })
}

func (f *Figures) total(name string, figure func(*Measurement) float64) (total float64, ok bool) {
	counters, ok := f.counters[name]
	for i := range counters {
		total += figure(&counters[i])
	}
	return total, ok || (f.measured && f.config.allows(name))
}

// Samples returns the measurements of this name, one for each set of labels.
func (f *Figures) Samples(name string) []Measurement { return f.samples[name] }

// prefix is what all names begin with.
func (c *Config) prefix() string { return cmp.Or(c.MetricsPrefix, "consul") + "." }

// allows reports whether the agent's filter passes a metric: the longest prefix decides (go-metrics: allowMetric).
func (c *Config) allows(name string) bool {
	full := c.prefix() + name
	allowed, longest := c.FilterDefault == nil || *c.FilterDefault, -1
	for _, rules := range []struct {
		prefixes []string
		allow    bool
	}{{c.AllowedPrefixes, true}, {c.BlockedPrefixes, false}} {
		for _, p := range rules.prefixes {
			if strings.HasPrefix(full, p) && len(p) > longest {
				allowed, longest = rules.allow, len(p)
			}
		}
	}
	return allowed
}
