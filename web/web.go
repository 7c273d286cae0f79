// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"path"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/zervigo/consul_cluster_exporter/collector"
)

// Options are what the handler is made from.
type Options struct {
	Exporter *collector.Exporter
	// TelemetryPath is where the metrics are.
	TelemetryPath string
	// TimeoutOffset is taken off the time that Prometheus grants a scrape, for the way there and back.
	TimeoutOffset time.Duration
	// EnablePprof mounts /debug/pprof/.
	EnablePprof bool
	// Logger gets the errors of encoding and sending; nil means no log.
	Logger log.Logger
}

// ValidateTelemetryPath reports what is wrong with a path for the metrics.
func ValidateTelemetryPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("%q does not begin with a slash", p)
	case p == "/" || path.Clean(p) != p || strings.ContainsAny(p, "{} "):
		return fmt.Errorf("%q is not a plain path other than /", p)
	case p == healthyPath || p == readyPath || strings.HasPrefix(p+"/", pprofPath):
		return fmt.Errorf("%q is taken by another page", p)
	default:
		return nil
	}
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	pprofPath   = "/debug/pprof/"
)

// NewHandler returns the handler of all pages.
func NewHandler(opts Options) (http.Handler, error) {
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("consul_exporter"), // The name that consul_exporter's users know.
	)
	landing, err := newLandingPage(opts)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(opts.TelemetryPath, newMetricsHandler(opts, registry))
	mux.HandleFunc(healthyPath, sayOK("consul_cluster_exporter is healthy.\n"))
	mux.HandleFunc(readyPath, sayOK("consul_cluster_exporter is ready.\n"))
	mux.Handle("/{$}", landing)
	if opts.EnablePprof {
		mux.HandleFunc(pprofPath, pprof.Index)
		mux.HandleFunc(pprofPath+"cmdline", pprof.Cmdline)
		mux.HandleFunc(pprofPath+"profile", pprof.Profile)
		mux.HandleFunc(pprofPath+"symbol", pprof.Symbol)
		mux.HandleFunc(pprofPath+"trace", pprof.Trace)
	}
	return mux, nil
}

func newLandingPage(opts Options) (http.Handler, error) {
	page, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        "Consul Cluster Exporter",
		Description: "Prometheus exporter for HashiCorp Consul clusters.",
		Version:     version.Info(),
		Profiling:   fmt.Sprint(opts.EnablePprof),
		Links: []toolkit.LandingLinks{
			{Address: opts.TelemetryPath, Text: "Metrics"},
			{Address: healthyPath, Text: "Healthy"},
			{Address: readyPath, Text: "Ready"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the landing page: %w", err)
	}
	return page, nil
}

func sayOK(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text))
	}
}
