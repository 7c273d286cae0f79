// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A page arrives whole, compressed or not as the client wants it, with its length; and without a body for HEAD.
func TestPage(t *testing.T) {
	t.Parallel()
	const text = "what there is to say\n"
	p, err := newPage("text/x", func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat(text, 10_000))
		return err
	})
	must.Do(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.send(w, r); err != nil {
			t.Errorf("%s: %v", r.Method, err)
		}
	}))
	defer server.Close()
	client := &http.Transport{DisableCompression: true}
	defer client.CloseIdleConnections()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for accepts, encoding := range map[string]string{"": "", "gzip": "gzip", "br": ""} {
			req := must.Get(http.NewRequestWithContext(t.Context(), method, server.URL, http.NoBody))(t)
			req.Header.Set("Accept-Encoding", accepts)
			resp, err := client.RoundTrip(req)
			must.Do(t, err)
			h := resp.Header
			if h.Get("Content-Encoding") != encoding || h.Get("Content-Type") != "text/x" || h.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s %q: header %v", method, accepts, h)
			}
			size := p.size
			if encoding != "" {
				size = int64(len(p.gzipped))
			}
			if h.Get("Content-Length") != strconv.FormatInt(size, 10) {
				t.Errorf("%s %q: length %s; want %d", method, accepts, h.Get("Content-Length"), size)
			}
			body, want := io.Reader(resp.Body), strings.Repeat(text, 10_000)
			switch {
			case method == http.MethodHead:
				want = ""
			case encoding != "":
				body = must.Get(gzip.NewReader(body))(t)
			}
			if body := must.Get(io.ReadAll(body))(t); string(body) != want {
				t.Errorf("%s %q: %d bytes; want %d", method, accepts, len(body), len(want))
			}
			resp.Body.Close()
		}
	}
}

// A page that cannot be finished has what was written before.
func TestPage_Fails(t *testing.T) {
	t.Parallel()
	p, err := newPage("text/x", func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return errGone
	})
	if !errors.Is(err, errGone) || p.size != 4 {
		t.Errorf("%d bytes, error %v; want half of the page, and the error", p.size, err)
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip;q=0.5, br": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"*": true, "*;q=0": false,
		"gzip;q=0, *": false, "*;q=0, gzip": true, "identity": false, "xgzip": false, "gzip;q=x": false,
		"br;q=1,gzip ;q=1": true,
	} {
		if got := acceptsGzip(http.Header{"Accept-Encoding": {header}}); got != want {
			t.Errorf("%q accepts gzip: %v; want %v", header, got, want)
		}
	}
}
