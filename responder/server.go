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
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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

// NewHandler serves deliveries and the history to those who know the secret, and metrics and health to anybody.
func NewHandler(r *Responder) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /alerts", r.authorized(r.serveAlerts))
	mux.HandleFunc("GET /history", r.authorized(r.serveHistory))
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.metrics.registry, promhttp.HandlerOpts{}))
	up := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the responder is up\n") }
	mux.HandleFunc("GET /-/healthy", up)
	mux.HandleFunc("GET /-/ready", up)
	return mux
}

// authorized lets only those pass who know the secret. Without one, the address is a loopback one, and a browser on
// this host must not be made to ask by another web page, whose name leads here: so the request must name it. Of the
// others nothing but the header is read.
func (r *Responder) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case r.secret == nil && !loopback(req.Host):
			r.turnAway(w, req, http.StatusMisdirectedRequest, fmt.Errorf("without a secret, this is localhost, not %.100q",
				req.Host))
		case r.secret != nil && !knows(req, r.secret()):
			w.Header().Set("WWW-Authenticate", "Bearer")
			r.turnAway(w, req, http.StatusUnauthorized, errors.New("the secret is missing or wrong"))
		default:
			next(w, req)
		}
	}
}

// loopback reports whether a request's Host is a name or an address of this host only.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}

func knows(req *http.Request, secret string) bool {
	given, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(given), []byte(secret)) == 1
}

// turnAway refuses a request of somebody who must not make it, and reads no more of it.
func (r *Responder) turnAway(w http.ResponseWriter, req *http.Request, status int, err error) {
	r.metrics.turnedAway.Inc()
	if more, ok := r.turnedAway.next(r.now()); ok {
		level.Warn(r.logger).Log("msg", "request is turned away", "path", req.URL.Path, "from", req.RemoteAddr,
			"status", status, "err", err, "more_since_last_line", more)
	}
	w.Header().Set("Connection", "close")
	http.Error(w, err.Error(), status)
}

// complaintInterval is how often there is a line in the log about requests that are refused.
const complaintInterval = time.Minute

// complaints let a line into the log now and then, and count the others.
type complaints struct {
	mu   sync.Mutex
	last time.Time // Guarded by mu.
	held int       // Guarded by mu.
}

// next reports whether there is to be a line now, and how many there were not since the latest one.
func (c *complaints) next(now time.Time) (held int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.IsZero() && now.Sub(c.last).Abs() < complaintInterval {
		c.held++
		return 0, false
	}
	held = c.held
	c.last, c.held = now, 0
	return held, true
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
	if more, ok := r.rejections.next(r.now()); ok {
		level.Warn(r.logger).Log("msg", "delivery is rejected", "from", req.RemoteAddr, "status", status, "err", err,
			"more_since_last_line", more)
	}
	http.Error(w, err.Error(), status)
}

func (r *Responder) serveHistory(w http.ResponseWriter, req *http.Request) {
	wanted, err := parseFilter(req.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.queries.Lock() // Each reads all of the history.
	page, err := r.history.query(wanted)
	r.queries.Unlock()
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
