// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// page is an answer that is ready to be sent to any number of clients. It is kept compressed even for clients that
// want plain text: 25,000 instances are 50 MB of text but 2 MB compressed, and a client may take a minute to read it.
type page struct {
	contentType string
	gzipped     []byte
	// size is the number of bytes before compression.
	size int64
}

// The standard library's gzip is five times as slow on a large page.
var (
	gzipWriters = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // It fails only for a level that does not exist.
		return w
	}}
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
)

// newPage returns the page that write writes. If write fails, the page has what was written before.
func newPage(contentType string, write func(io.Writer) error) (*page, error) {
	var compressed bytes.Buffer
	w := &countingWriter{Writer: gzipWriters.Get().(*gzip.Writer)}
	defer gzipWriters.Put(w.Writer)
	w.Reset(&compressed)
	err := write(w)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return &page{contentType, bytes.Clone(compressed.Bytes()), w.n}, err
}

// countingWriter counts what is compressed.
type countingWriter struct {
	*gzip.Writer

	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// send sends the page in the form that the client accepts. An error is that of the client or of the way to it.
func (p *page) send(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	h.Set("Content-Type", p.contentType)
	if acceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(p.gzipped)))
		_, err := w.Write(p.gzipped)
		return err
	}
	h.Set("Content-Length", strconv.FormatInt(p.size, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	plain := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(plain)
	if err := plain.Reset(bytes.NewReader(p.gzipped)); err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	_, err := io.Copy(w, plain)
	return err
}

// acceptsGzip reports whether a client accepts gzip, by name or as *, with a weight above 0.
func acceptsGzip(h http.Header) bool {
	accepted := false
	for item := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, parameters, _ := strings.Cut(item, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding != "gzip" && coding != "*" {
			continue
		}
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			weight, _ = strconv.ParseFloat(strings.TrimSpace(q), 64) // Nonsense is no wish for gzip.
		}
		if coding == "gzip" {
			return weight > 0 // Says more than *.
		}
		accepted = weight > 0
	}
	return accepted
}
