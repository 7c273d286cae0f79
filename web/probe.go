// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// Modules are the modules that /probe can be asked for, and the file that they come from. It is what this package
// needs of config.File.
type Modules interface {
	// Module returns the current module of a name. As long as it has not changed it is the same one.
	Module(name string) (*config.ValidModule, bool)
	// Reload reloads the file. If that fails nothing changes, and the error has all problems, one in a line.
	Reload() error
	// LastReload returns whether the last load was good, and when one was for the last time.
	LastReload() (successful bool, success time.Time)
}

// The answers to requests that cannot be served. None of them has anything of the request.
var (
	errNoModules    = errors.New("there are no modules to probe with: start the exporter with --config.file")
	errModuleWanted = errors.New("the parameter module is missing, or there is more than one; " +
		"want the name of a module of the configuration file")
	errTargetWanted = errors.New("the parameter target is missing, or there is more than one; " +
		"want the host, or host:port, of an agent's HTTP API")
	errUnknownModule = errors.New("the configuration file has no module of this name")
)

// probeHandler serves the metrics of the cluster of the agent that a request names. What is not allowed ends with an
// error before anything is sent anywhere, resolved or read.
type probeHandler struct {
	modules Modules
	keeper  *keeper
	offset  time.Duration
	limits  *limits
	logger  log.Logger
}

func newProbeHandler(opts Options, l *limits) *probeHandler {
	h := &probeHandler{modules: opts.Modules, offset: opts.TimeoutOffset, limits: l, logger: opts.Logger}
	h.keeper = &keeper{open: h.open, max: keptMax, entries: make(map[keptKey]*kept)}
	return h
}

// open makes the exporter of a target.
func (h *probeHandler) open(name string, target config.Target) (*collector.Exporter, func(), error) {
	remembered, opts := memory.New(memory.Options{}), target.Options()
	opts.Remembered = remembered.Remembered
	c := cluster.New(opts)
	settings := target.Settings()
	exporter, err := collector.NewExporter(collector.Options{
		Cluster:  c,
		Memory:   remembered,
		Enabled:  target.Collectors(),
		Settings: &settings,
		Success:  true,
		Logger:   log.With(h.logger, "module", name, "target", target.String()),
	})
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return exporter, c.Close, nil
}

func (h *probeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.modules == nil {
		http.Error(w, errNoModules.Error(), http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	name, module, target, err := h.asked(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, err := h.keeper.acquire(name, module, target)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer h.keeper.release(e)
	s := scrape{e.exporter, h.offset, h.limits, h.logger}
	s.serve(w, r, query, func(took time.Duration) ([]*dto.MetricFamily, error) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "probe_duration_seconds", Help: "How long the probe took.",
		}, took.Seconds))
		return registry.Gather()
	})
}

// asked returns what a request is for, if that is allowed.
func (h *probeHandler) asked(query url.Values) (
	name string, module *config.ValidModule, target config.Target, err error,
) {
	name, host := single(query["module"]), single(query["target"])
	module, ok := h.modules.Module(name)
	switch {
	case name == "":
		err = errModuleWanted
	case host == "":
		err = errTargetWanted
	case !ok:
		err = errUnknownModule
	default:
		target, err = module.Target(host)
	}
	return name, module, target, err
}

// single returns the one value of a parameter, or nothing.
func single(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// dropChanged drops the exporters of modules that are not the same any more.
func (h *probeHandler) dropChanged() {
	h.keeper.dropWhere(func(name string, module *config.ValidModule) bool {
		current, ok := h.modules.Module(name)
		return !ok || current != module
	})
}

// close drops all exporters.
func (h *probeHandler) close() {
	h.keeper.dropWhere(func(string, *config.ValidModule) bool { return true })
}
