// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomad "github.com/hashicorp/nomad/api"
)

// Every block and attribute of the jobs is one that Nomad's API has. Nomad's own parser is no library that may be used
// here; it maps the names of a job file to the API's types by the same tags.
func TestNomad(t *testing.T) {
	for _, name := range []string{
		"examples/nomad/consul_cluster_exporter.nomad.hcl", "examples/nomad/consul_responder.nomad.hcl",
	} {
		file, diagnostics := hclsyntax.ParseConfig(read(t, name), name, hcl.InitialPos)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		jobs := file.Body.(*hclsyntax.Body).Blocks
		if len(jobs) != 1 || jobs[0].Type != "job" {
			t.Fatalf("%s has %d blocks; want one job", name, len(jobs))
		}
		checkBlock(t, "job", jobs[0].Body, reflect.TypeFor[nomad.Job]())
	}
}

// checkBlock compares a block with the type that it fills.
func checkBlock(t *testing.T, path string, body *hclsyntax.Body, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Map {
		return // Of variables, or of a driver's own settings.
	}
	fields := make(map[string]reflect.Type) // By kind and name.
	for field := range typ.Fields() {
		name, kind, _ := strings.Cut(field.Tag.Get("hcl"), ",")
		if kind == "" || kind == "optional" {
			kind = "attribute"
		}
		fields[kind+" "+name] = field.Type
	}
	for name, attribute := range body.Attributes {
		if fields["attribute "+name] == nil {
			t.Errorf("%s: %s has no attribute %s", attribute.SrcRange, path, name)
		}
	}
	for _, block := range body.Blocks {
		field := fields["block "+block.Type]
		if field == nil {
			t.Errorf("%s: %s has no block %s", block.TypeRange, path, block.Type)
			continue
		}
		checkBlock(t, path+"."+block.Type, block.Body, field)
	}
}
