// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// chunkSeries is how many series are encoded in one go, as a few hundred kilobytes of text.
const chunkSeries = 2000

// chunk is a part of one family.
type chunk struct {
	family *dto.MetricFamily
	// first is whether the family begins with it, and so has its header.
	first bool
	// text is valid when done is closed, unless there is an err.
	text *bytes.Buffer
	err  error
	done chan struct{}
}

var chunkBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode writes families in a format. One core would take as long to encode a large catalog as Consul to send it, so
// all cores encode, a few chunks ahead of what is written and compressed. A family that cannot be encoded is left out
// and part of the error; an error of w ends it all.
func encode(w io.Writer, format expfmt.Format, families []*dto.MetricFamily) error {
	ahead := make(chan *chunk, 2*runtime.GOMAXPROCS(0))
	stop := make(chan struct{})
	go func() {
		defer close(ahead)
		for _, c := range split(families, format.FormatType() != expfmt.TypeProtoDelim) {
			select {
			case ahead <- c: // Waits while there are enough ahead.
				go c.encode(format)
			case <-stop:
				return
			}
		}
	}()
	var failed error
	for c := range ahead {
		<-c.done
		if c.err != nil {
			failed = errors.Join(failed, fmt.Errorf("encode %s: %w", c.family.GetName(), c.err))
			continue
		}
		_, err := w.Write(c.text.Bytes())
		c.text.Reset()
		chunkBuffers.Put(c.text)
		if err != nil {
			close(stop)
			return errors.Join(failed, err)
		}
	}
	if closer, ok := expfmt.NewEncoder(w, format).(expfmt.Closer); ok { // OpenMetrics ends with a line.
		failed = errors.Join(failed, closer.Close())
	}
	return failed
}

// split returns the families in chunks; in the binary format a family cannot be split.
func split(families []*dto.MetricFamily, splittable bool) []*chunk {
	var chunks []*chunk
	for _, f := range families {
		rest := f.Metric
		for first := true; first || len(rest) > 0; first = false {
			n := len(rest)
			if splittable {
				n = min(n, chunkSeries)
			}
			part := &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit, Metric: rest[:n]}
			chunks = append(chunks, &chunk{family: part, first: first, done: make(chan struct{})})
			rest = rest[n:]
		}
	}
	return chunks
}

func (c *chunk) encode(format expfmt.Format) {
	defer close(c.done)
	c.text = chunkBuffers.Get().(*bytes.Buffer)
	if c.err = expfmt.NewEncoder(c.text, format).Encode(c.family); c.err == nil && !c.first {
		c.skipHeader()
	}
}

// skipHeader drops the comments that the encoder begins each family with; no series begins like that.
func (c *chunk) skipHeader() {
	for bytes.HasPrefix(c.text.Bytes(), []byte("#")) {
		if _, err := c.text.ReadBytes('\n'); err != nil {
			return
		}
	}
}
