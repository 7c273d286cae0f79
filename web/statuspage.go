// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/status"
)

//go:embed page/status.html
var statusHTML string

//go:embed page/status.css
var statusCSS string

//go:embed page/status.js
var statusJS string

// statusDocument has all that the status page shows, and is the page as JSON: a View, the responder's latest decisions,
// and the exporter.
type statusDocument struct {
	status.View

	// Recovery has the latest decisions of the responder; left out when the exporter does not know of one.
	Recovery *recovery `json:"recovery,omitempty"`
	// Exporter is the exporter that answers.
	Exporter exporterInfo `json:"exporter"`
}

// exporterInfo describes the exporter itself.
type exporterInfo struct {
	// Version is that of the release.
	Version string `json:"version"`
	// Revision is the commit that it was built from.
	Revision string `json:"revision"`
	// GoVersion is that of the compiler.
	GoVersion string `json:"go_version"`
	// Flags are those that differ from their defaults. None of them is a secret.
	Flags []Flag `json:"flags"`
}

// Flag is a flag of the command line with its value.
type Flag struct {
	// Name is that of the flag, without dashes.
	Name string `json:"name"`
	// Value is as on the command line.
	Value string `json:"value"`
}

// pageFailed is shown instead of a page that cannot be made.
const pageFailed = "the page could not be made; the log says why"

// statusPage serves the state of the cluster to people, and as JSON to programs.
type statusPage struct {
	cache *statusCache
	links []pageLink
	// prometheus is the address of Prometheus; empty if there is none.
	prometheus string

	template *template.Template
	policy   string // Content-Security-Policy.
	limits   *limits
	logger   log.Logger
}

// pageLink is a link to another page, of the exporter or elsewhere.
type pageLink struct{ Path, Text string }

// ValidatePrometheusURL reports what is wrong with the address of Prometheus.
func ValidatePrometheusURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return errors.New("want http or https, a host, and perhaps a path, such as http://localhost:9090")
	}
	return nil
}

func newStatusPage(take func(context.Context) status.View, opts Options, l *limits) (*statusPage, error) {
	page, err := template.New("status").Parse(statusHTML)
	if err != nil {
		return nil, fmt.Errorf("parse the status page: %w", err)
	}
	exporter := exporterInfo{version.Version, version.GetRevision(), version.GoVersion, append([]Flag{}, opts.Flags...)}
	p := &statusPage{
		cache: newStatusCache(func(ctx context.Context) statusDocument {
			decided := make(chan *recovery, 1)
			go func() { decided <- opts.Responder.ask(ctx) }()
			return statusDocument{View: take(ctx), Recovery: <-decided, Exporter: exporter}
		}),
		prometheus: strings.TrimSuffix(opts.PrometheusURL, "/"),
		links: []pageLink{
			{opts.TelemetryPath, "Metrics"},
			{"/?format=json", "This page as JSON"},
			{healthyPath, "Healthy"},
			{readyPath, "Ready"},
		},
		template: page,
		policy:   contentSecurityPolicy(statusCSS, statusJS),
		limits:   l,
		logger:   opts.Logger,
	}
	if opts.EnablePprof {
		p.links = append(p.links, pageLink{pprofPath, "Profiles"})
	}
	runbooks := alerts.Runbook("README")
	p.links = append(p.links,
		pageLink{strings.Replace(runbooks, "/runbooks/", "/", 1), "Documentation"}, pageLink{runbooks, "Runbooks"})
	if p.prometheus != "" {
		p.links = append(p.links, pageLink{p.prometheus + "/alerts", "Alerts in Prometheus"})
	}
	return p, nil
}

// contentSecurityPolicy allows the page its own style, its own script, and this to get the page again, and nothing
// else: no other script, nothing from elsewhere, and not to be framed.
func contentSecurityPolicy(style, script string) string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// ServeHTTP answers with the page, or with ?format=json.
func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := r.URL.Query().Get("format")
	if format != "" && format != "json" && format != "html" {
		http.Error(w, fmt.Sprintf("there is no format %.40q; there are html and json", format), http.StatusBadRequest)
		return
	}
	document, err := p.cache.get(r.Context())
	if err != nil {
		if r.Context().Err() == nil { // Otherwise the client is gone.
			p.fail(w, err)
		}
		return
	}
	end, ok := p.limits.pages.take(r.Context(), turnKey{client: clientOf(r.RemoteAddr)})
	if !ok {
		return
	}
	contentType, write := "text/html; charset=utf-8", func(w io.Writer) error {
		return p.template.Execute(w, newStatusView(document, p.links, p.prometheus))
	}
	if format == "json" {
		contentType, write = "application/json", func(w io.Writer) error { return json.NewEncoder(w).Encode(document) }
	}
	page, err := newPage(contentType, write)
	end()
	if err != nil { // Rather than half a page.
		p.fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if format != "json" {
		w.Header().Set("Content-Security-Policy", p.policy)
	}
	p.limits.send(w, r, page)
}

// fail answers that the page cannot be made, and logs why.
func (p *statusPage) fail(w http.ResponseWriter, err error) {
	level.Error(p.logger).Log("msg", "status page could not be made", "err", err)
	http.Error(w, pageFailed, http.StatusInternalServerError)
}
