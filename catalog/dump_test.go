// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

const smallCatalog = `[{"ID":"x","Node":"n\u00fc","Meta":{"Node":"no"},"Checks":[
		{"Node":"n","CheckID":"disk","Name":"Disk","Status":"warning","ServiceID":"","Definition":{"Header":{"a":["b"]}}},
		{"CheckID":"_service_maintenance:b","Name":"M","Status":"critical","ServiceID":"b","ServiceName":"B"},
		{"CheckID":"new","Status":"excellent","ServiceID":"c","ServiceName":"C"},
		{"CheckID":"alias","Status":"critical","ServiceID":"b-proxy","ServiceName":"P"}],
	"Services":[{"ID":"a","Service":"A","Tags":["t","\"t\""],"Meta":{"k":"v","k2":""},"Proxy":{"ID":"not this"}},
		{"ID":"b","Service":"B","Tags":null},{"ID":"c","Service":"C","Meta":{}},
		{"ID":"b-proxy","Service":"P","Proxy":{"Mode":"","DestinationServiceID":"b","Expose":{}}},null,
		{"Service":"without ID"}]},
	{"Node":"imported","PeerName":"p","Services":[{"ID":"z","Service":"Z"}]},
	{"Node":"empty","PeerName":"","Services":null,"Checks":[null]},null]`

func TestDecodeCatalog(t *testing.T) {
	t.Parallel()
	want := &Catalog{Nodes: []Node{
		{
			Name: "nü",
			Instances: []Instance{
				{ID: "a", Service: "A", Tags: []string{"t", `"t"`}, Meta: []Meta{{"k", "v"}, {"k2", ""}}, Status: Warning},
				{ID: "b", Service: "B", Tags: []string{}, Status: Maintenance},
				{ID: "c", Service: "C", Meta: []Meta{}, Status: Warning},
				{ID: "b-proxy", Service: "P", Status: Maintenance},
			},
			Checks: []Check{
				{ID: "disk", Name: "Disk", Status: Warning},
				{ID: "_service_maintenance:b", Name: "M", Status: Critical, ServiceID: "b", ServiceName: "B"},
				{ID: "new", Status: Unknown, ServiceID: "c", ServiceName: "C"},
				{ID: "alias", Status: Critical, ServiceID: "b-proxy", ServiceName: "P"},
			},
		},
		{Name: "empty", Checks: []Check{}},
	}}
	slowly := iotest.OneByteReader(strings.NewReader(smallCatalog))
	got := must.Get(decodeCatalog(slowly, new(consul.Options).NewBudget()))(t)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("catalog (-want +got):\n%s", diff)
	}
}

// A sidecar follows its service into maintenance, an instance has one state whatever words the checks are registered
// with, and Healthy goes by the letter, as consul_exporter does.
func TestNode_Judge(t *testing.T) {
	t.Parallel()
	const proxy = `"Proxy":{"DestinationServiceID":"of"}`
	for _, tc := range []struct {
		name    string
		service string // What else there is to say about the service with ID s.
		checks  map[string]string
		want    Status
		healthy bool
	}{
		{"no check", ``, nil, Passing, true},
		{"passing", ``, map[string]string{"s": "passing"}, Passing, true},
		{"Passing", ``, map[string]string{"s": "Passing"}, Passing, false},
		{"CRITICAL", ``, map[string]string{"s": "CRITICAL"}, Critical, false},
		{"the word maintenance", ``, map[string]string{"s": "maintenance"}, Maintenance, false},
		{"a word of nobody's", ``, map[string]string{"s": "unknown"}, Unknown, false},
		{"no word", ``, map[string]string{"s": ""}, Unknown, false},
		{"its node is critical", ``, map[string]string{"": "critical", "s": "passing"}, Critical, false},
		{"a sidecar", proxy, map[string]string{"s": "passing", "of": "passing"}, Passing, true},
		{"a sidecar and its service", proxy, map[string]string{"s": "critical", "of": "critical"}, Critical, false},
		{
			"a sidecar whose service is in maintenance", proxy,
			map[string]string{"s": "critical", "of": "maintenance"},
			Maintenance, false,
		},
		{
			"one that Consul has not told yet", proxy,
			map[string]string{"s": "passing", "of": "maintenance"},
			Maintenance, true,
		},
		{"a proxy of nothing that is registered", proxy, map[string]string{"s": "critical"}, Critical, false},
	} {
		var checks []string
		for id, status := range tc.checks {
			checks = append(checks, fmt.Sprintf(`{"CheckID":"c-%s","Status":%q,"ServiceID":%q}`, id, status, id))
		}
		service := strings.TrimSuffix(`{"ID":"s","Service":"S",`+tc.service, ",") + "}"
		answer := fmt.Sprintf(`[{"Node":"n","Services":[%s,{"ID":"of","Service":"Of"}],"Checks":[%s]}]`,
			service, strings.Join(checks, ","))
		c := must.Get(decodeCatalog(strings.NewReader(answer), new(consul.Options).NewBudget()))(t)
		if in := c.Nodes[0].Instances[0]; in.Status != tc.want || in.Healthy != tc.healthy {
			t.Errorf("%s: %s, healthy %v; want %s, %v", tc.name, in.Status, in.Healthy, tc.want, tc.healthy)
		}
	}
}

// Texts that come again share their memory, and long ones fit.
func TestDecodeCatalog_Large(t *testing.T) {
	t.Parallel()
	large := bytes.NewReader(consultest.CatalogAnswer(1000, 5000))
	c := must.Get(decodeCatalog(large, new(consul.Options).NewBudget()))(t)
	instances, tags := 0, 0
	for _, n := range c.Nodes {
		if len(n.Checks) != 51 || n.Checks[1].ServiceID != n.Instances[0].ID {
			t.Fatalf("node %s has %d checks, the second of %q", n.Name, len(n.Checks), n.Checks[1].ServiceID)
		}
		for _, in := range n.Instances {
			instances++
			tags += len(in.Tags)
			if in.Tags[2] != "primary" || in.Meta[0] != (Meta{"team", "payments"}) || in.Status != Passing {
				t.Fatalf("instance is %+v", in)
			}
		}
	}
	if instances != 5000 || tags != 15000 || len(c.Nodes) != 100 {
		t.Errorf("%d nodes, %d instances, %d tags", len(c.Nodes), instances, tags)
	}
	long := strings.Repeat("ab", 32<<10) // More than texts have memory for together.
	c, err := decodeCatalog(strings.NewReader(`[{"Node":"`+long+`"}]`), new(consul.Options).NewBudget())
	if err != nil || c.Nodes[0].Name != long {
		t.Errorf("a long name is lost, error %v", err)
	}
}

func TestDecodeCatalog_Malformed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, answer, want string }{
		{"empty", ``, "EOF"},
		{"null", `null`, "there is no list"},
		{"object", `{}`, "there is no list"},
		{"truncated", smallCatalog[:len(smallCatalog)/2], "unexpected EOF"},
		{"more", `[] []`, "there is more after the end"},
		{"node is a number", `[1]`, "there is no object after byte 1"},
		{"name is a number", `[{"Node":1}]`, "there is no text after byte 8"},
		{"services are an object", `[{"Services":{}}]`, "there is no list after byte 12"},
		{"tag is a list", `[{"Services":[{"Tags":[[]]}]}]`, "there is no text after byte 23"},
		{"status is a number", `[{"Checks":[{"Status":2}]}]`, "there is no text after byte 21"},
		{"deep", strings.Repeat("[", 100_000), "there is no object"},
		{"deep in what is skipped", `[{"x":` + strings.Repeat("[", 100_000), "depth"},
		{"HTML", "<html>", "invalid character"},
	} {
		c, err := decodeCatalog(strings.NewReader(tc.answer), new(consul.Options).NewBudget())
		if c != nil || err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 200 {
			t.Errorf("%s: %+v, error %v; want none and %q", tc.name, c, err, tc.want)
		}
	}
}

func FuzzDecodeCatalog(f *testing.F) {
	f.Add([]byte(smallCatalog))
	f.Add([]byte(`[{"Node":"\ud800","Services":[{"ID":"\xff"}]}]`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := decodeCatalog(bytes.NewReader(answer), new(consul.Options).NewBudget())
		if (c == nil) != (err != nil) {
			t.Fatalf("%+v, error %v", c, err)
		}
		if c == nil {
			return
		}
		for _, n := range c.Nodes {
			for _, in := range n.Instances {
				if n.Name == "" || in.ID == "" || in.Status.String() == "" {
					t.Errorf("node %q has the instance %+v", n.Name, in)
				}
			}
			if utf8.Valid(answer) && !utf8.ValidString(n.Name) {
				t.Errorf("name %q is not valid", n.Name)
			}
		}
	})
}
