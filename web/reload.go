// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"strings"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Reload reloads the configuration file, for SIGHUP and for POST /-/reload. If anything is wrong with the file,
// everything stays as it was; each problem is a line in the log, and the error has them all. Without a file it does
// nothing.
func (h *Handler) Reload() error {
	if h.modules == nil {
		level.Info(h.logger).Log("msg", "there is no configuration file to load anew")
		return nil
	}
	if err := h.modules.Reload(); err != nil {
		for line := range strings.Lines(err.Error()) {
			level.Error(h.logger).Log("msg", "configuration file is not loaded, the last good one stays in use", "err",
				strings.TrimSpace(line))
		}
		return err
	}
	h.probe.dropChanged()
	level.Info(h.logger).Log("msg", "configuration file is loaded anew")
	return nil
}

// serveReload is for POST only, and only where the operator has allowed it: anyone who can reach the page could use
// it.
func (h *Handler) serveReload(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		w.Header().Set("Allow", "POST, PUT")
		http.Error(w, "this page takes POST requests only", http.StatusMethodNotAllowed)
	case !h.lifecycle:
		http.Error(w,
			"reloading over HTTP is switched off: start the exporter with --web.enable-lifecycle, or send it SIGHUP",
			http.StatusForbidden)
	case h.modules == nil:
		http.Error(w, "there is nothing to reload: the exporter was started without --config.file", http.StatusNotFound)
	default:
		if err := h.Reload(); err != nil {
			http.Error(w, "the configuration file is not loaded, the last good one stays in use:\n"+err.Error(),
				http.StatusInternalServerError)
			return
		}
		sayOK("The configuration file is loaded anew.\n")(w, r)
	}
}

// registerReload adds what is known about the configuration file.
func registerReload(registry *prometheus.Registry, modules Modules) {
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "consul_exporter_config_last_reload_successful",
			Help: "1 if the configuration file was last loaded successfully, 0 if the previous one is still in use.",
		}, func() float64 {
			if ok, _ := modules.LastReload(); ok {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "consul_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file in use was loaded.",
		}, func() float64 {
			_, at := modules.LastReload()
			return float64(at.UnixNano()) / 1e9
		}),
	)
}
