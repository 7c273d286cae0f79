// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The schema of the JSON is generated from the types in Go and the comments on them.
func TestTables_Schema(t *testing.T) {
	t.Parallel()
	s := newSchemas(t)
	root := &schema{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		ID:     "https://raw.githubusercontent.com/zervigo/consul_cluster_exporter/main/" + harness.StatusSchema,
		Title:  "Status of a Consul cluster",
		Description: "The JSON of the exporter's page, /?format=json, and of its command check --output=json. Properties " +
			"are only ever added, so accept unknown ones. Unknown values are left out, never null.",
		AnyOf: []*schema{
			s.ref("web", "statusDocument"), s.ref("status", "View"), s.ref("status", "ServicesView"),
			s.ref("cli", "stopAnswer"), s.ref("cli", "releaseAnswer"),
		},
		Defs: s.defs,
	}
	text := string(must.Get(json.MarshalIndent(root, "", "  "))(t)) + "\n"
	harness.ExpectFile(t, harness.StatusSchema, text, "docs")
}

// schema is a JSON Schema with the keywords that are needed.
type schema struct {
	Schema               string             `json:"$schema,omitempty"`
	ID                   string             `json:"$id,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Ref                  string             `json:"$ref,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Format               string             `json:"format,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	Minimum              *int               `json:"minimum,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	AdditionalProperties *schema            `json:"additionalProperties,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	Required             []string           `json:"required,omitempty"`
	Defs                 map[string]*schema `json:"$defs,omitempty"`

	of *ast.TypeSpec // In Go.
}

// schemas has schemas of types, by their names in JSON Schema, and the source that they are made from.
type schemas struct {
	*testing.T

	defs map[string]*schema
	// types and values are by package and name of the type. Values are the constants.
	types  map[string]*ast.TypeSpec
	values map[string][]*ast.ValueSpec
}

// newSchemas reads the source.
func newSchemas(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{t, make(map[string]*schema), make(map[string]*ast.TypeSpec), make(map[string][]*ast.ValueSpec)}
	for _, file := range projectFiles(t, ".go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source := must.Get(parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments))(t)
		for _, decl := range source.Decls {
			group, _ := decl.(*ast.GenDecl)
			if group == nil {
				continue
			}
			for _, spec := range group.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					spec.Doc = cmp.Or(spec.Doc, group.Doc)
					s.types[source.Name.Name+"."+spec.Name.Name] = spec
				case *ast.ValueSpec:
					if of, ok := spec.Type.(*ast.Ident); ok && group.Tok == token.CONST {
						of := source.Name.Name + "." + of.Name
						s.values[of] = append(s.values[of], spec)
					}
				}
			}
		}
	}
	return s
}

// ref refers to the schema of a type, which it defines.
func (s *schemas) ref(pkg, name string) *schema {
	spec := s.types[pkg+"."+name]
	if spec == nil {
		s.Fatalf("there is no type %s.%s", pkg, name)
	}
	public := strings.ToUpper(name[:1]) + name[1:]
	if def := s.defs[public]; def == nil {
		def = &schema{of: spec, Description: s.description(spec.Doc, name, public)}
		s.defs[public] = def
		if fields, ok := spec.Type.(*ast.StructType); ok {
			def.Type, def.Properties = "object", make(map[string]*schema)
			s.addFields(def, pkg, name, fields)
		} else {
			def.Type = "string"
			s.addWords(def, s.values[pkg+"."+name])
		}
	} else if def.of != spec {
		s.Fatalf("there are two types %s", public)
	}
	return &schema{Ref: "#/$defs/" + public}
}

// fixed are the words of properties that are plain strings.
var fixed = map[string][]string{
	"PortStatus.transport": {cluster.TransportTCP, cluster.TransportUDP},
	"ServerStatus.serf":    append(texts(cluster.MemberStatuses()), cluster.StatusNone.String()),
	"PoolMember.status":    texts(cluster.MemberStatuses()),
}

// addFields adds the fields of a struct, with those of structs that are embedded.
func (s *schemas) addFields(def *schema, pkg, of string, fields *ast.StructType) {
	for _, f := range fields.Fields.List {
		if len(f.Names) == 0 {
			embedded := f.Type.(*ast.SelectorExpr)
			pkg, name := embedded.X.(*ast.Ident).Name, embedded.Sel.Name
			s.addFields(def, pkg, name, s.types[pkg+"."+name].Type.(*ast.StructType))
			continue
		}
		tag := must.Get(strconv.Unquote(f.Tag.Value))(s.T)
		key, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if key == "-" {
			continue
		}
		property := s.of(pkg, f.Type)
		property.Description = s.description(f.Doc, f.Names[0].Name, key)
		property.Enum = fixed[of+"."+key]
		def.Properties[key] = property
		if options == "" {
			def.Required = append(def.Required, key)
		}
	}
}

// of is the schema of a type in a package.
func (s *schemas) of(pkg string, expr ast.Expr) *schema {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return s.of(pkg, expr.X)
	case *ast.ArrayType:
		return &schema{Type: "array", Items: s.of(pkg, expr.Elt)}
	case *ast.MapType:
		return &schema{Type: "object", AdditionalProperties: s.of(pkg, expr.Value)}
	case *ast.SelectorExpr:
		if expr.Sel.Name == "Time" {
			return &schema{Type: "string", Format: "date-time"}
		}
		return s.ref(expr.X.(*ast.Ident).Name, expr.Sel.Name)
	}
	switch name := expr.(*ast.Ident).Name; name {
	case "string":
		return &schema{Type: name}
	case "bool":
		return &schema{Type: "boolean"}
	case "float64":
		return &schema{Type: "number"}
	case "int":
		return &schema{Type: "integer"}
	case "uint64":
		return &schema{Type: "integer", Minimum: new(int)}
	default:
		return s.ref(pkg, name)
	}
}

// addWords adds the words that a type is made of, and what the comments on them say.
func (s *schemas) addWords(def *schema, values []*ast.ValueSpec) {
	for _, v := range values {
		quoted := v.Values[0].(*ast.BasicLit).Value
		def.Enum = append(def.Enum, must.Get(strconv.Unquote(quoted))(s.T))
		if v.Doc != nil {
			def.Description += " " + s.description(v.Doc, v.Names[0].Name, quoted)
		}
	}
	if len(def.Enum) == 0 {
		s.Errorf("no constants: %s", def.Description)
	}
}

// description is the first paragraph of the comment on something, with its public name.
func (s *schemas) description(doc *ast.CommentGroup, name, public string) string {
	paragraph, _, _ := strings.Cut(doc.Text(), "\n\n")
	text, ok := strings.CutPrefix(strings.Join(strings.Fields(paragraph), " "), name)
	if !ok || !strings.HasSuffix(text, ".") {
		s.Errorf("the comment on %s, %s, is %q; want a sentence that begins with its name", name, public, text)
	}
	return public + text
}

// What the program prints, with and without a cluster, matches the schema; test/outage does the same with real ones.
func TestSchema_Outputs(t *testing.T) {
	t.Parallel()
	for _, file := range must.Get(filepath.Glob("status/testdata/*.json"))(t) {
		harness.ExpectSchema(t, "View", string(must.Get(os.ReadFile(file))(t)))
	}
	e := harness.StartExporter(t, nil, "--consul.server=127.0.0.1:1", "--responder.url=http://127.0.0.1:1")
	harness.ExpectSchema(t, "StatusDocument", e.Page(t, "/?format=json", http.StatusOK))
	for definition, flags := range map[string][]string{
		"View":          {"--only=cluster"},
		"ServicesView":  {"--only=services"},
		"StopAnswer":    {"--safe-to-stop=server-1"},
		"ReleaseAnswer": {"--release=server-1"},
	} {
		args := append([]string{"check", "--output=json", "--consul.server=127.0.0.1:1"}, flags...)
		_, stdout, stderr := harness.RunProgram(t, args...)
		if stdout == "" {
			t.Errorf("check %s: %s", flags, stderr)
		}
		harness.ExpectSchema(t, definition, stdout)
	}
}

// The schema rejects what it does not describe.
func TestSchema_Rejects(t *testing.T) {
	t.Parallel()
	good := string(must.Get(os.ReadFile("status/testdata/view.json"))(t))
	for _, tc := range []struct{ old, changed string }{
		{`"level": "degraded"`, `"level": "fine"`},
		{`"severity": "warning"`, `"severity": "page"`},
		{`"state": "held"`, `"state": "kept"`},
		{`"serf": "alive"`, `"serf": "dead"`},
		{`"seconds": 0.04`, `"seconds": "0.04"`},
		{`"seconds": 0.04`, `"seconds": 0.04, "minutes": 0`},
		{`"alert": "ConsulServiceDown",`, ``},
		{`"time": "2026-03-04T12:00:00Z"`, `"time": "noon"`},
		{`"last_log_index": 1000`, `"last_log_index": -1`},
		{`"ports": []`, `"ports": null`},
	} {
		bad := strings.Replace(good, tc.old, tc.changed, 1)
		if err := harness.CheckSchema("View", bad); bad == good || err == nil {
			t.Errorf("%s instead of %s: it is not in the file, or accepted", tc.changed, tc.old)
		}
	}
}
