// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/zervigo/consul_cluster_exporter/collector"
)

const (
	// timeoutHeader tells how long Prometheus waits, in seconds.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultBudget is what a scrape may take when the client does not say.
	defaultBudget = 10 * time.Second
	// minBudget is left even by a tiny timeout, or one near the offset.
	minBudget = 50 * time.Millisecond
	// maxBudget is longer than any sensible scrape.
	maxBudget = 10 * time.Minute
)

// metricsHandler serves the metrics of one exporter and of this process.
func metricsHandler(opts Options, l *limits, registry *prometheus.Registry) http.Handler {
	s := scrape{opts.Exporter, opts.TimeoutOffset, l, opts.Logger}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Of the two only the registry can fail, and none of their names are the same, so that they need no merging.
		s.serve(w, r, r.URL.Query(), func(time.Duration) ([]*dto.MetricFamily, error) { return registry.Gather() })
	})
}

// scrape is how an exporter is asked.
type scrape struct {
	exporter *collector.Exporter
	offset   time.Duration
	limits   *limits
	logger   log.Logger
}

// extra returns families that are not about Consul, given how long the scrape took.
type extra func(took time.Duration) ([]*dto.MetricFamily, error)

// serve runs the collectors that the request wants in the time that it has, and sends their families and the extra
// ones.
func (s *scrape) serve(w http.ResponseWriter, r *http.Request, query url.Values, add extra) {
	names, err := s.exporter.Select(query["collect[]"], query["exclude[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	budget, err := scrapeBudget(r.Header.Get(timeoutHeader), s.offset)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), budget)
	defer cancel()
	result, err := s.exporter.Gather(ctx, collector.Request{
		Names: names, Admit: s.limits.admit(clientOf(r.RemoteAddr), s.exporter, names),
	})
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Add("Vary", "Accept")
	// From here on only the page is needed: the families of a large catalog take a hundred times as much memory.
	if p := s.page(r, result, query["name[]"], add); p != nil {
		s.limits.send(w, r, p)
	}
}

// page returns the page that the request wants, or nil if its client is gone. Requests that share a result share its
// page, unless they want families by name.
func (s *scrape) page(r *http.Request, result *collector.Result, names []string, add extra) *page {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	build := func() *page {
		own, err := add(result.Duration)
		s.complain(err)
		families := named(slices.Concat(result.Families, own), names)
		p, err := newPage(string(format), func(w io.Writer) error { return encode(w, format, families) })
		s.complain(err)
		tidyUp(families)
		return p
	}
	if r.Context().Err() != nil {
		return nil
	}
	if len(names) == 0 {
		return result.Once(string(format), func() any { return build() }).(*page)
	}
	end, ok := s.limits.pages.take(r.Context(), turnKey{client: clientOf(r.RemoteAddr)})
	if !ok {
		return nil
	}
	defer end()
	return build()
}

// named returns the families of these names, or all if there are no names.
func named(families []*dto.MetricFamily, names []string) []*dto.MetricFamily {
	if len(names) == 0 {
		return families
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !slices.Contains(names, f.GetName()) })
}

// complain logs why metrics are missing.
func (s *scrape) complain(err error) {
	if err != nil {
		level.Error(s.logger).Log("msg", "metrics could not be encoded", "err", err)
	}
}

// scrapeBudget returns how long a scrape may take: what the client grants, minus the offset.
func scrapeBudget(header string, offset time.Duration) (time.Duration, error) {
	if header == "" {
		return defaultBudget, nil
	}
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || math.IsNaN(seconds) || seconds < time.Nanosecond.Seconds() {
		return 0, fmt.Errorf("header %s is %.40q; want a number of seconds above 0", timeoutHeader, header)
	}
	granted := time.Duration(min(seconds, maxBudget.Seconds()) * float64(time.Second))
	return max(granted-offset, min(granted, minBudget)), nil
}
