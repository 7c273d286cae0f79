// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

var update = flag.Bool("update", false, "write the list of deviations instead of comparing it")

// deviationsList has all deviations and where they are used, for a reader who wants to know what the tests rest on.
const deviationsList = "testdata/deviations.md"

// byVariable are the deviations that a cluster can have.
var byVariable = map[string]Deviation{
	"KeepDead": KeepDead, "FastElections": FastElections, "SlowElections": SlowElections,
	"FastWANGossip": FastWANGossip, "ShortLag": ShortLag, "LongLag": LongLag,
	"ThreeVoters": ThreeVoters, "EagerLogVerifier": EagerLogVerifier,
}

// TestDeviations lists all deviations from Consul's defaults. Each is declared under its own name and used, and each
// use has a reason in words at the place.
func TestDeviations(t *testing.T) {
	t.Parallel()
	uses := deviationsUsed(t)
	for _, name := range slices.Sorted(maps.Keys(byVariable)) {
		if byVariable[name].Name != name {
			t.Errorf("%s calls itself %s", name, byVariable[name].Name)
		}
		if len(uses[name]) == 0 {
			t.Errorf("no cluster has %s", name)
		}
	}
	for name := range uses {
		if _, ok := byVariable[name]; !ok {
			t.Errorf("%s is used and not in this test", name)
		}
	}
	list := deviationsText(uses)
	if *update {
		must.Do(t, os.WriteFile(deviationsList, []byte(list), 0o644))
	}
	if diff := cmp.Diff(string(must.Get(os.ReadFile(deviationsList))(t)), list); diff != "" {
		t.Errorf("%s (-file +code); run: go test ./internal/consultest -run TestDeviations -update\n%s", deviationsList, diff)
	}
}

// A deviationUse is where a cluster has a deviation, and why.
type deviationUse struct{ file, reason string }

func deviationsText(uses map[string][]deviationUse) string {
	var b strings.Builder
	b.WriteString("# Where clusters of tests differ from Consul's defaults\n\nAll clusters:\n\n")
	for _, d := range always {
		fmt.Fprintf(&b, "- `%s`: %s\n", d.Setting, d.Reason)
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		fmt.Fprintf(&b, "\n%s (`%s`):\n\n", name, byVariable[name].Setting)
		for _, use := range uses[name] {
			fmt.Fprintf(&b, "- %s: %s\n", use.file, use.reason)
		}
	}
	return b.String()
}

// deviationsUsed finds each call of Because outside of this package, by the name of the deviation.
func deviationsUsed(t *testing.T) map[string][]deviationUse {
	t.Helper()
	root := must.Get(toolbox.Root())(t)
	uses := make(map[string][]deviationUse)
	must.Do(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		relative := must.Get(filepath.Rel(root, path))(t)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || relative == "internal/consultest"):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			becauses(t, path, func(name, reason string) {
				uses[name] = append(uses[name], deviationUse{relative, reason})
			})
		}
		return nil
	}))
	return uses
}

// becauses calls found with each deviation in a file, and fails if its reason is not a text that is written there.
func becauses(t *testing.T, path string, found func(name, reason string)) {
	t.Helper()
	files := token.NewFileSet()
	file := must.Get(parser.ParseFile(files, path, nil, parser.SkipObjectResolution))(t)
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		because, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || because.Sel.Name != "Because" {
			return true
		}
		deviation, ok := because.X.(*ast.SelectorExpr)
		if !ok {
			t.Errorf("%s: a deviation is not named at the place", files.Position(n.Pos()))
			return true
		}
		reason := textOf(call.Args[0])
		if len(strings.Fields(reason)) < 5 {
			t.Errorf("%s: the reason %q; want one in words, written at the place", files.Position(n.Pos()), reason)
		}
		found(deviation.Sel.Name, reason)
		return true
	})
}

// textOf is the text that an expression of string literals is; otherwise empty.
func textOf(e ast.Expr) string {
	value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(e))
	if err != nil || value.Value == nil || value.Value.Kind() != constant.String {
		return ""
	}
	return constant.StringVal(value.Value)
}

// A cluster without deviations has Consul's defaults, one with them has those, and one that deviates without a name or
// a reason does not start.
func TestConfig_Deviations(t *testing.T) {
	t.Parallel()
	config := func(o Options) (map[string]any, error) {
		return (&Cluster{opts: o}).config(&Agent{Name: "server-1", Server: true})
	}
	plain := must.Get(config(Options{}))(t)
	for _, key := range byName {
		if value, ok := plain[key]; ok {
			t.Errorf("%s is %v without a deviation; want Consul's default", key, value)
		}
	}
	deviating := must.Get(config(Options{Deviations: []Deviation{
		KeepDead.Because("this is a test"), ThreeVoters.Because("this is a test"),
	}}))(t)
	want := map[string]any{"cleanup_dead_servers": false, "min_quorum": 3.0}
	if diff := cmp.Diff(want, deviating["autopilot"]); diff != "" {
		t.Errorf("autopilot's settings (-want +got):\n%s", diff)
	}
	for want, o := range map[string]Options{
		"KeepDead (autopilot.cleanup_dead_servers = false) has no reason": {Deviations: []Deviation{KeepDead}},
		"performance differs from Consul's default": {
			Config: map[string]any{"performance": map[string]any{"raft_multiplier": 1}},
		},
	} {
		if _, err := config(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
}
