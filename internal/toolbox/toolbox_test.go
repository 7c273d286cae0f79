// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package toolbox

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Each row of the table agrees with the go.mod that it names: the version is in there, and the package is a tool of
// that module.
func TestTools_Pinned(t *testing.T) {
	t.Parallel()
	root := must.Get(Root())(t)
	for _, tool := range Tools() {
		if version, err := tool.Version(root); err != nil || !strings.HasPrefix(version, "v") {
			t.Errorf("the version of %s is %q, %v", tool.Name, version, err)
		}
		gomod := must.Get(os.ReadFile(filepath.Join(tool.Dir(root), "go.mod")))(t)
		if !regexp.MustCompile(`(?m)^(?:tool |\t)` + regexp.QuoteMeta(tool.Package()) + `$`).Match(gomod) {
			t.Errorf("%s/go.mod has no tool line for %s", tool.Dir("."), tool.Package())
		}
	}
}

func TestRequiredVersion(t *testing.T) {
	t.Parallel()
	for gomod, want := range map[string]string{
		"module m\n\nrequire example.com/a v1.2.3\n":                                 "v1.2.3",
		"require (\n\texample.com/b v0.1.0\n\texample.com/a v1.2.4 // indirect\n)\n": "v1.2.4",
		"require (\n\texample.com/a/v2 v2.0.0\n\texample.com/a v1.0.0\n)\n":          "v1.0.0",
		"tool example.com/a\n":                           "",
		"replace (\n\texample.com/a v1.0.0 => ../a\n)\n": "",
		"": "",
	} {
		if got := requiredVersion(gomod, "example.com/a"); got != want {
			t.Errorf("requiredVersion(%q) = %q; want %q", gomod, got, want)
		}
	}
}

// The binary is the one in the cache, once it is built, unless the environment names another one, which must be there.
func TestPath(t *testing.T) {
	for _, variable := range []string{"LocalAppData", "HOME", "XDG_CACHE_HOME"} { // Of Windows, macOS and the others.
		t.Setenv(variable, t.TempDir())
	}
	for _, tool := range Tools() {
		t.Setenv(tool.EnvVar(), "")
	}
	for name, command := range map[string]string{"consul": "make tools", "golangci-lint": "go run ./tools golangci-lint"} {
		_, err := Path(name)
		want := regexp.MustCompile(`^` + name + ` v\S+ is not built; run: ` + regexp.QuoteMeta(command) + `$`)
		if err == nil || !want.MatchString(err.Error()) {
			t.Errorf("Path(%q) error = %v; want %s", name, err, want)
		}
	}
	expect := func(name, want string) {
		t.Helper()
		must.Do(t, os.MkdirAll(filepath.Dir(want), 0o755))
		must.Do(t, os.WriteFile(want, nil, 0o755))
		if got, err := Path(name); err != nil || got != want {
			t.Errorf("Path() = %q, %v; want %q", got, err, want)
		}
	}
	tool := must.Get(Find("promtool"))(t)
	version := must.Get(tool.Version(must.Get(Root())(t)))(t)
	built := must.Get(tool.Binary(version))(t)
	if end := filepath.Join("tools", "prometheus-"+version, filepath.Base(built)); !strings.HasSuffix(built, end) {
		t.Errorf("Binary() = %q; want it to end with %q", built, end)
	}
	expect(tool.Name, built)

	const variable = "CONSUL_CLUSTER_EXPORTER_TOOL_GOLANGCI_LINT"
	file := filepath.Join(t.TempDir(), "another")
	t.Setenv(variable, file)
	if _, err := Path("golangci-lint"); err == nil || !strings.Contains(err.Error(), variable) {
		t.Errorf("Path() error = %v; want one that names the variable", err)
	}
	expect("golangci-lint", file)
}

func TestRoot_Outside(t *testing.T) {
	t.Chdir(t.TempDir())
	if root, err := Root(); err == nil {
		t.Errorf("Root() = %q; want an error", root)
	}
}
