// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package streamtest tests what decodes answers of Consul while they arrive: no more is kept than the budget allows.
package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Decoder decodes an answer while it arrives.
type Decoder struct {
	first, element, end string
	decode              func(io.Reader, *consul.Budget) error
}

// New returns a decoder of answers that are first, as many elements as there are, and end; # in an element is its
// number.
func New(first, element, end string, decode func(io.Reader, *consul.Budget) error) Decoder {
	return Decoder{first, element, end, decode}
}

// Streamed returns what decodes with a function that reads from a JSONReader.
func Streamed(decode func(*consul.JSONReader) error) func(io.Reader, *consul.Budget) error {
	return func(r io.Reader, memory *consul.Budget) error {
		d := consul.NewJSONReader(r, memory)
		return decode(&d)
	}
}

// ExpectBudget fails if short answers that would be large in memory are not too large. The decoders have names.
func ExpectBudget(t *testing.T, decoders map[string]Decoder) {
	t.Helper()
	const limit = 1 << 20
	options := consul.Options{MaxResponseBytes: limit}
	for name, tc := range decoders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := func(n int) string {
				elements := make([]string, n)
				for i := range elements {
					elements[i] = strings.ReplaceAll(tc.element, "#", fmt.Sprint(i))
				}
				return tc.first + strings.Join(elements, ",") + tc.end
			}
			read := func(text string) error { return tc.decode(strings.NewReader(text), options.NewBudget()) }
			if err := read(answer(1000)); err != nil {
				t.Errorf("few: %v", err)
			}
			many := answer(limit / (len(tc.element) + 6)) // As many as an answer of that length can have.
			if len(many) > limit {
				t.Fatalf("the answer has %d bytes and would not be read", len(many))
			}
			err := read(many)
			if !errors.As(err, new(consul.TooLargeError)) || !strings.Contains(err.Error(), "--consul.max-response-bytes") {
				t.Errorf("many: error %v; want that the answer is too large, and the flag", err)
			}
		})
	}
}

// Fuzz reads data as an answer for each of the decoders, with little memory to spend: no more is kept.
func Fuzz(f *testing.F, decoders func() map[string]Decoder) {
	f.Helper()
	for _, seed := range []string{
		`[{"Name":"a","Status":1,"Tags":{"role":"consul","port":"8300"}},null,{},{"Name":"b"}]`,
		`[{"Node":"server-1","Coord":{"Vec":[1,2]}},{"Node":"server-2","Coord":null}]`,
		`[{"Name":"east","State":"ACTIVE","StreamStatus":{"ImportedServices":["a"]}}]`,
		`{"Gauges":[{"Name":"consul.x","Value":1}],"Counters":null,"Samples":[{"Name":"consul.y","Mean":1,
			"Labels":{"a":"b"}}]}`,
		`{"web":["a"],"db":null}`, "[[],{},1]", "null", "[", `{"a":`, "[1]2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, stream := range decoders() {
			const limit = 4096
			memory := consul.NewBudget(limit)
			if err := stream.decode(bytes.NewReader(data), memory); err == nil && memory.Spent() > limit {
				t.Errorf("%s: %d bytes are kept of %d that are allowed", name, memory.Spent(), limit)
			}
		}
	})
}
