// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"context"
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
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/memory"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// Options are what the handler is made from.
type Options struct {
	Exporter *collector.Exporter
	// Cluster is what the status page is about, and StatusParts what it shows apart from the servers.
	Cluster *cluster.Cluster
	// Memory is what is remembered of the cluster between scrapes, shared with Exporter; nil means a new one.
	Memory      *memory.Memory
	StatusParts status.Parts
	// Flags are those that differ from their defaults, for the status page. None may be a secret.
	Flags []Flag
	// Responder is asked for what it decided, for the status page.
	Responder Responder
	// PrometheusURL is the address of Prometheus, to which the status page has links; empty means none.
	PrometheusURL string
	// TelemetryPath is where the metrics are.
	TelemetryPath string
	// TimeoutOffset is taken off the time that Prometheus grants a scrape, for the way there and back.
	TimeoutOffset time.Duration
	// MaxRequests is how many scrapes of Consul may be under way at one time; 0 means any number. Requests that share a
	// scrape are one.
	MaxRequests int
	// EnablePprof mounts /debug/pprof/.
	EnablePprof bool
	// Modules are those of the configuration file; nil means that there is none.
	Modules Modules
	// EnableLifecycle lets POST /-/reload reload the configuration file.
	EnableLifecycle bool
	// Logger gets the errors of encoding and sending; nil means no log.
	Logger log.Logger
}

// takeStatus finds out how the cluster is, until ctx is done.
func (o *Options) takeStatus(ctx context.Context) status.View {
	snap := o.Cluster.Snapshot(ctx)
	defer snap.Close()
	return status.Read(ctx, snap, o.Memory, o.StatusParts)
}

// ValidateTelemetryPath reports what is wrong with a path for the metrics.
func ValidateTelemetryPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("%q does not begin with a slash", p)
	case p == "/" || path.Clean(p) != p || strings.ContainsAny(p, "{} "):
		return fmt.Errorf("%q is not a plain path other than /", p)
	case p == healthyPath || p == readyPath || p == reloadPath || p == probePath || p == statePath ||
		strings.HasPrefix(p+"/", pprofPath):
		return fmt.Errorf("%q is taken by another page", p)
	default:
		return nil
	}
}

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	reloadPath  = "/-/reload"
	probePath   = "/probe"
	pprofPath   = "/debug/pprof/"
)

// Handler serves all pages. Close must be called at the end, when it serves none any more.
type Handler struct {
	mux       *http.ServeMux
	probe     *probeHandler
	status    *statusPage
	modules   Modules // nil without a configuration file.
	lifecycle bool
	limits    *limits
	logger    log.Logger
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Close releases the clusters that /probe was asked for, and ends what the status page has begun.
func (h *Handler) Close() {
	h.probe.close()
	h.status.cache.close()
}

// NewHandler returns the handler of all pages.
func NewHandler(opts Options) (*Handler, error) {
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	opts.Memory = cmp.Or(opts.Memory, new(memory.Memory))
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("consul_exporter"), // The name that consul_exporter's users know.
	)
	l := newLimits(opts.MaxRequests, opts.Logger)
	status, err := newStatusPage(opts.takeStatus, opts, l)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	h := &Handler{mux, newProbeHandler(opts, l), status, opts.Modules, opts.EnableLifecycle, l, opts.Logger}
	if h.modules != nil {
		registerReload(registry, h.modules)
	}
	mux.Handle(opts.TelemetryPath, promhttp.InstrumentMetricHandler(registry, l.on(metricsHandler(opts, l, registry))))
	mux.Handle("GET "+probePath, l.on(h.probe))
	mux.Handle("GET /{$}", l.on(status))
	mux.Handle("GET "+statePath, l.on(stateHandler(opts.Memory, opts, l)))
	// These cost next to nothing, and show whether the exporter is alive: they answer even when it is busy.
	mux.HandleFunc(reloadPath, h.serveReload)
	mux.HandleFunc(healthyPath, sayOK("consul_cluster_exporter is healthy.\n"))
	mux.HandleFunc(readyPath, sayOK("consul_cluster_exporter is ready.\n"))
	if opts.EnablePprof {
		mux.HandleFunc(pprofPath, pprof.Index)
		mux.HandleFunc(pprofPath+"cmdline", pprof.Cmdline)
		mux.HandleFunc(pprofPath+"profile", pprof.Profile)
		mux.HandleFunc(pprofPath+"symbol", pprof.Symbol)
		mux.HandleFunc(pprofPath+"trace", pprof.Trace)
	}
	return h, nil
}

func sayOK(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(text))
	}
}
