// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// bodyTimeout bounds how long a delivery may take to arrive.
	bodyTimeout = 30 * time.Second
	// historyLimit is how many records a page of the history has by default, and maxHistoryLimit at most.
	historyLimit, maxHistoryLimit = 100, 1000
)

// NewServer returns the server of a responder, which bounds what a client may send and how long it may be idle.
func NewServer(r *Responder) *http.Server {
	return &http.Server{
		Handler: newHandler(r), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}

// newHandler serves deliveries and the history to those who know the secret, and metrics and health to anybody.
func newHandler(r *Responder) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /alerts", r.authorized(r.serveAlerts))
	mux.HandleFunc("GET /history", r.authorized(r.serveHistory))
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.metrics.registry, promhttp.HandlerOpts{}))
	up := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the responder is up\n") }
	mux.HandleFunc("GET /-/healthy", up)
	mux.HandleFunc("GET /-/ready", up)
	return mux
}

// authorized lets only those pass who know the secret.
func (r *Responder) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if r.secret != nil {
			given, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
			if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(r.secret())) != 1 {
				level.Warn(r.logger).Log("msg", "request without the secret is refused",
					"path", req.URL.Path, "from", req.RemoteAddr)
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "the secret is missing or wrong", http.StatusUnauthorized)
				return
			}
		}
		next(w, req)
	}
}

// serveAlerts takes a delivery. It answers before anything is decided: Alertmanager does not wait for long.
func (r *Responder) serveAlerts(w http.ResponseWriter, req *http.Request) {
	// Nothing but JSON: that is what no other web page can make a browser send.
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "the content is no application/json", http.StatusUnsupportedMediaType)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // Not every connection has one.
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxWebhookBytes))
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		r.reject(w, req, http.StatusRequestEntityTooLarge,
			fmt.Errorf("more than %d bytes; set max_alerts in Alertmanager's webhook_config", maxWebhookBytes))
		return
	}
	if err != nil {
		r.reject(w, req, http.StatusBadRequest, err)
		return
	}
	alerts, err := decodeWebhook(body)
	if err != nil {
		r.reject(w, req, http.StatusBadRequest, err)
		return
	}
	queued, err := r.receive(alerts)
	if err != nil { // Alertmanager tries again.
		r.reject(w, req, http.StatusServiceUnavailable, err)
		return
	}
	fmt.Fprintf(w, "%d of %d alerts are looked at\n", queued, len(alerts))
}

func (r *Responder) reject(w http.ResponseWriter, req *http.Request, status int, err error) {
	level.Warn(r.logger).Log("msg", "delivery is rejected", "from", req.RemoteAddr, "status", status, "err", err)
	http.Error(w, err.Error(), status)
}

func (r *Responder) serveHistory(w http.ResponseWriter, req *http.Request) {
	wanted, err := parseFilter(req.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	page, err := r.history.query(wanted)
	if err != nil {
		level.Error(r.logger).Log("msg", "the history cannot be read", "err", err)
		http.Error(w, "the history cannot be read; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(page) // Who asked may be gone.
}

func parseFilter(query url.Values) (filter, error) {
	f := filter{
		rule: query.Get("rule"), action: query.Get("action"), result: query.Get("result"), alertName: query.Get("alertname"),
		server: query.Get("server"), limit: historyLimit,
	}
	var errs []error
	for key := range query {
		var err error
		value := query.Get(key)
		switch key {
		case "rule", "action", "result", "alertname", "server":
		case "since":
			f.since, err = time.Parse(time.RFC3339, value)
		case "until":
			f.until, err = time.Parse(time.RFC3339, value)
		case "before":
			f.before, err = strconv.ParseUint(value, 10, 64)
		case "limit":
			if f.limit, err = strconv.Atoi(value); err == nil && (f.limit < 1 || f.limit > maxHistoryLimit) {
				err = fmt.Errorf("want 1 to %d", maxHistoryLimit)
			}
		default:
			err = errors.New("there is no such filter; there are rule, action, result, alertname, server, since, until, " +
				"before and limit")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s=%.60q: %w", key, value, err))
		}
	}
	return f, errors.Join(errs...)
}
