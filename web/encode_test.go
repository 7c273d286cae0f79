// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// manyFamilies returns families of these numbers of series. The help of each has lines that look like series and
// comments.
func manyFamilies(sizes ...int) []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for i, size := range sizes {
		help := "Help.\n# HELP x\nfamily_0{} 1"
		f := &dto.MetricFamily{Name: new(fmt.Sprint("family_", i)), Help: &help, Type: dto.MetricType_GAUGE.Enum()}
		for k := range size {
			id := &dto.LabelPair{Name: new("service_id"), Value: new(fmt.Sprintf("web-%04d", k))}
			value := &dto.Gauge{Value: new(float64(k % 2))}
			f.Metric = append(f.Metric, &dto.Metric{Label: []*dto.LabelPair{id}, Gauge: value})
		}
		families = append(families, f)
	}
	return families
}

var formats = []expfmt.Format{
	expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics),
	expfmt.NewFormat(expfmt.TypeProtoDelim),
}

// What comes out is what one encoder alone writes, whatever the format.
func TestEncode(t *testing.T) {
	t.Parallel()
	families := manyFamilies(1, chunkSeries, chunkSeries+1, 5*chunkSeries+7, 3)
	for _, format := range formats {
		var want, got bytes.Buffer
		encoder := expfmt.NewEncoder(&want, format)
		for _, f := range families {
			must.Do(t, encoder.Encode(f))
		}
		if closer, ok := encoder.(expfmt.Closer); ok {
			must.Do(t, closer.Close())
		}
		must.Do(t, encode(&got, format, families))
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%s: %d bytes, other than the %d of one encoder", format, got.Len(), want.Len())
		}
	}
}

// A family that cannot be encoded costs that family.
func TestEncode_BadFamily(t *testing.T) {
	t.Parallel()
	families := manyFamilies(2, 2, 2)
	families[1].Metric = nil
	var out strings.Builder
	err := encode(&out, formats[0], families)
	if err == nil || !strings.Contains(err.Error(), "encode family_1: ") {
		t.Errorf("error is %v; want one that names family_1", err)
	}
	if got := out.String(); !strings.Contains(got, "\nfamily_0{") || !strings.Contains(got, "\nfamily_2{") ||
		strings.Contains(got, "family_1{") {
		t.Errorf("sent is %s", got)
	}
}

var errGone = errors.New("gone")

func TestEncode_ClientGone(t *testing.T) {
	t.Parallel()
	client, w := io.Pipe()
	go func() {
		_, _ = io.CopyN(io.Discard, client, 1<<20)
		client.CloseWithError(errGone)
	}()
	if err := encode(w, formats[0], manyFamilies(100*chunkSeries)); !errors.Is(err, errGone) {
		t.Errorf("error is %v; want that of the writer", err)
	}
}

// BenchmarkEncode is the encoding and compression of 49,000 series, as of a catalog of 5,000 instances; one encoder
// alone is the measure.
func BenchmarkEncode(b *testing.B) {
	families := manyFamilies(20000, 15000, 5000, 5000, 4000)
	for name, format := range map[string]expfmt.Format{"text": formats[0], "openmetrics": formats[1]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := must.Get(gzip.NewWriterLevel(io.Discard, gzip.BestSpeed))(b)
				must.Do(b, encode(w, format, families))
			}
		})
	}
}
