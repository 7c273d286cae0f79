// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"io"
	"net/http"
	"time"

	"github.com/go-kit/log/level"

	"github.com/zervigo/consul_cluster_exporter/memory"
)

// statePath is where the command check gets what is remembered.
const statePath = "/state"

// stateHandler serves what is remembered of the cluster, as JSON. It asks Consul nothing.
func stateHandler(remembered *memory.Memory, opts Options, l *limits) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := remembered.Encode(time.Now())
		if err != nil {
			level.Error(opts.Logger).Log("msg", "what is remembered could not be served", "err", err)
			http.Error(w, pageFailed, http.StatusInternalServerError)
			return
		}
		p, err := newPage("application/json", func(w io.Writer) error { _, err := w.Write(text); return err })
		if err != nil {
			http.Error(w, pageFailed, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		l.send(w, r, p)
	})
}
