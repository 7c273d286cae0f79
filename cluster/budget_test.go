// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// streamDecoder decodes an answer while it arrives. Such an answer is first, as many elements as there are, and end; #
// in an element is its number.
type streamDecoder struct {
	first, element, end string
	decode              func(io.Reader, *consul.Budget) error
}

// streamDecoders are those of all such answers, by what the elements are.
func streamDecoders() map[string]streamDecoder {
	return map[string]streamDecoder{
		"instances": {`[{"Node":"n","Services":[`, `{"ID":"a"}`, "]}]", wholeCatalog},
		"checks":    {`[{"Node":"n","Checks":[`, `{"CheckID":"a"}`, "]}]", wholeCatalog},
		"tags":      {`[{"Node":"n","Services":[{"ID":"a","Tags":[`, `""`, "]}]}]", wholeCatalog},
		"meta":      {`[{"Node":"n","Services":[{"ID":"a","Meta":{`, `"":""`, "}}]}]", wholeCatalog},
		"texts":     {`[{"Node":"n","Services":[{"ID":"a","Tags":[`, `"#"`, "]}]}]", wholeCatalog},
		"nodes":     {`[`, `{"Node":"n"}`, "]", wholeCatalog},
		"services":  {`{`, `"#":[]`, "}", streamed(decodeNames(new([]string)))},
		"telemetry": {`{"Samples":[`, `{"Labels":{"#":""}}`, "]}", streamed(new(telemetryAnswer).decode)},
		"agent":     {`{`, `"#":{}`, "}", streamed(new(partialNode).decodeServices)},
		"states":    {`[`, `{"Node":"n"}`, "]", streamed(nodesByName{"n": {}}.decodeChecks)},
		"catalog":   {`[`, `{"Node":"#"}`, "]", streamed(new(catalogEntries).decode)},
		"overview":  {`{"Services":[`, `{"Name":"#"}`, "]}", streamed(new(CatalogOverview).decode)},
		"entries": {`[`, `{"Node":{},"Service":{}}`, "]", streamed(func(d *consul.JSONReader) error {
			_, err := decodeEntries(d, "")
			return err
		})},
		"members":  {`[`, `{"Name":"n"}`, "]", streamed(decodeList(new([]Member), newMember))},
		"peerings": {`[`, `{"Name":"n"}`, "]", streamed(decodeList(new([]Peering), newPeering))},
	}
}

// Short answers that would be large in memory are too large; the catalog of 30,000 instances is not by far.
func TestBudget(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	options := consul.Options{MaxResponseBytes: limit}
	for name, tc := range streamDecoders() {
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

func streamed(decode decoder) func(io.Reader, *consul.Budget) error {
	return func(r io.Reader, memory *consul.Budget) error {
		d := consul.NewJSONReader(r, memory)
		return decode(&d)
	}
}

func TestTooManyServers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n, known int
		want     string // Of the error.
	}{
		{maxServers, maxServers, "<nil>"},
		{maxServers + 1, 0, "the agent names 1001 servers: more than 1000 are not believed, and none of them is asked"},
	} {
		c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
			endpointMembers.Path: answer(200, list(servers(tc.n, StatusAlive)...)),
			endpointRaft.Path:    answer(200, `{"Servers":[]}`),
		})
		topology, err := scrape(t, c, (*Snapshot).Topology)
		if known := len(topology.Servers); known != tc.known || fmt.Sprint(err) != tc.want {
			t.Errorf("%d servers, error %v; want %d, and %s", known, err, tc.known, tc.want)
		}
		if kept := len(c.known.topology().Servers); kept != tc.known {
			t.Errorf("%d servers are kept; want %d", kept, tc.known)
		}
	}
}
