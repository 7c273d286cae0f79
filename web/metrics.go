// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

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
	exporter *collector.Exporter
	registry *prometheus.Registry
	offset   time.Duration
	logger   log.Logger
}

func newMetricsHandler(opts Options, registry *prometheus.Registry) http.Handler {
	h := &metricsHandler{opts.Exporter, registry, opts.TimeoutOffset, opts.Logger}
	// The standard library's gzip, which promhttp would use, is five times as slow on a large answer.
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(1))
	if err != nil {
		panic(err) // The options are constant.
	}
	return promhttp.InstrumentMetricHandler(registry, compress(h))
}

func (h *metricsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	names, err := h.exporter.Select(query["collect[]"], query["exclude[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	budget, err := scrapeBudget(r.Header.Get(timeoutHeader), h.offset)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), budget)
	defer cancel()
	// Of the two only the registry can fail, and none of their names are the same, so that they need no merging.
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		own, err := h.registry.Gather()
		return append(h.exporter.Gather(ctx, names), own...), err
	})
	promhttp.HandlerFor(gather, promhttp.HandlerOpts{
		ErrorLog:           errorLog{h.logger},
		ErrorHandling:      promhttp.ContinueOnError,
		DisableCompression: true,
		EnableOpenMetrics:  true,
	}).ServeHTTP(w, r)
}

// scrapeBudget returns how long a scrape may take: what the client waits, less the offset.
func scrapeBudget(header string, offset time.Duration) (time.Duration, error) {
	if header == "" {
		return defaultBudget, nil
	}
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0, fmt.Errorf("header %s is %.40q; want a number of seconds above 0", timeoutHeader, header)
	}
	granted := time.Duration(min(seconds, maxBudget.Seconds()) * float64(time.Second))
	return max(granted-offset, min(granted, minBudget)), nil
}

// errorLog hands promhttp's errors to the logger.
type errorLog struct{ logger log.Logger }

func (l errorLog) Println(v ...any) {
	level.Error(l.logger).Log("msg", "metrics could not be sent", "err", fmt.Sprint(v...))
}
