// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/zervigo/consul_cluster_exporter/collector"
)

const (
	// timeoutHeader is how Prometheus says how long it waits, in seconds.
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// defaultBudget is what a scrape may take when the client does not say.
	defaultBudget = 10 * time.Second
	// minBudget keeps a tiny timeout, or an offset near it, from leaving no time at all.
	minBudget = 50 * time.Millisecond
	// maxBudget is longer than any sensible scrape.
	maxBudget = 10 * time.Minute
)

// metricsHandler serves the metrics of one exporter and of this process.
type metricsHandler struct {
	scrape
	registry *prometheus.Registry
}

func newMetricsHandler(opts Options, registry *prometheus.Registry) http.Handler {
	return &metricsHandler{scrape{opts.Exporter, opts.TimeoutOffset, opts.Logger}, registry}
}

func (h *metricsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Of the two only the registry can fail, and none of their names are the same, so that they need no merging.
	h.serve(w, r, r.URL.Query(), func(families []*dto.MetricFamily, _ time.Duration) ([]*dto.MetricFamily, error) {
		own, err := h.registry.Gather()
		return append(families, own...), err
	})
}

// compressed compresses answers. The standard library's gzip, which promhttp would use, is five times as slow on a large one.
func compressed(h http.Handler) http.Handler {
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(1))
	if err != nil {
		panic(err) // The options are constant.
	}
	return compress(h)
}

// scrape is how an exporter is asked.
type scrape struct {
	exporter *collector.Exporter
	offset   time.Duration
	logger   log.Logger
}

// serve runs the collectors that the request wants, within the time that it has, and sends their families together with what
// add makes of them and of the time that they took.
func (s *scrape) serve(w http.ResponseWriter, r *http.Request, query url.Values, add func([]*dto.MetricFamily, time.Duration) ([]*dto.MetricFamily, error)) {
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
	start := time.Now()
	families := s.exporter.Gather(ctx, names)
	families, err = add(families, time.Since(start))
	s.complain(err)
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Content-Type", string(format))
	families = named(families, query["name[]"])
	s.complain(encode(w, format, families))
	tidyUp(families)
}

// named returns the families of these names, or all if there are no names.
func named(families []*dto.MetricFamily, names []string) []*dto.MetricFamily {
	if len(names) == 0 {
		return families
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !slices.Contains(names, f.GetName()) })
}

// complain logs what kept some of the metrics from being sent.
func (s *scrape) complain(err error) {
	if err != nil {
		level.Error(s.logger).Log("msg", "metrics could not be sent", "err", err)
	}
}

// scrapeBudget returns how long a scrape may take: what the client waits, less the offset.
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
