// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"io"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/streamtest"
)

// streamDecoders decode the answers that are read while they arrive, by what their elements are.
func streamDecoders() map[string]streamtest.Decoder {
	return map[string]streamtest.Decoder{
		"instances": streamtest.New(`[{"Node":"n","Services":[`, `{"ID":"a"}`, "]}]", wholeCatalog),
		"checks":    streamtest.New(`[{"Node":"n","Checks":[`, `{"CheckID":"a"}`, "]}]", wholeCatalog),
		"tags":      streamtest.New(`[{"Node":"n","Services":[{"ID":"a","Tags":[`, `""`, "]}]}]", wholeCatalog),
		"meta":      streamtest.New(`[{"Node":"n","Services":[{"ID":"a","Meta":{`, `"":""`, "}}]}]", wholeCatalog),
		"texts":     streamtest.New(`[{"Node":"n","Services":[{"ID":"a","Tags":[`, `"#"`, "]}]}]", wholeCatalog),
		"nodes":     streamtest.New(`[`, `{"Node":"n"}`, "]", wholeCatalog),
		"services":  streamtest.New(`{`, `"#":[]`, "}", streamtest.Streamed(decodeNames(new([]string)))),
		"agent":     streamtest.New(`{`, `"#":{}`, "}", streamtest.Streamed(new(partialNode).decodeServices)),
		"states":    streamtest.New(`[`, `{"Node":"n"}`, "]", streamtest.Streamed(nodesByName{"n": {}}.decodeChecks)),
		"catalog":   streamtest.New(`[`, `{"Node":"#"}`, "]", streamtest.Streamed(new(Entries).decode)),
		"overview":  streamtest.New(`{"Services":[`, `{"Name":"#"}`, "]}", streamtest.Streamed(new(Overview).decode)),
		"entries": streamtest.New(`[`, `{"Node":{},"Service":{}}`, "]", streamtest.Streamed(func(d *consul.JSONReader) error {
			_, err := decodeEntries(d, "")
			return err
		})),
	}
}

// Short answers that would be large in memory are too large; the catalog of 30,000 instances is not by far.
func TestBudget(t *testing.T) {
	t.Parallel()
	streamtest.ExpectBudget(t, streamDecoders())

	large := consultest.CatalogAnswer(5000, 30_000)
	memory := new(consul.Options).NewBudget()
	must.Do(t, wholeCatalog(bytes.NewReader(large), memory))
	if len(large) > consul.DefaultMaxResponseBytes/2 || memory.Spent() > consul.DefaultMaxResponseBytes/2 {
		t.Errorf("the catalog of 30,000 instances has %d bytes, and %d in memory; want less than half of %d", len(large),
			memory.Spent(), consul.DefaultMaxResponseBytes)
	}
}

func wholeCatalog(r io.Reader, memory *consul.Budget) error {
	_, err := decodeCatalog(r, memory)
	return err
}
