// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package toolbox

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each row of the table agrees with the go.mod that it names: the version is in there, and the package is a tool of
// that module.
func TestTools_Pinned(t *testing.T) {
	t.Parallel()
	root, err := Root()
	must(t, err)
	for _, tool := range Tools() {
		if version, err := tool.Version(root); err != nil || !strings.HasPrefix(version, "v") {
			t.Errorf("the version of %s is %q, %v", tool.Name, version, err)
		}
		gomod, err := os.ReadFile(filepath.Join(tool.Dir(root), "go.mod"))
		must(t, err)
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

// In an empty cache nothing is built.
func TestPath_NotBuilt(t *testing.T) {
	emptyCache(t)
	for name, command := range map[string]string{"consul": "make tools", "golangci-lint": "go run ./tools golangci-lint"} {
		_, err := Path(name)
		want := regexp.MustCompile(`^` + name + ` v\S+ is not built; run: ` + regexp.QuoteMeta(command) + `$`)
		if err == nil || !want.MatchString(err.Error()) {
			t.Errorf("Path(%q) error = %v; want %s", name, err, want)
		}
	}
}

func TestPath_Built(t *testing.T) {
	emptyCache(t)
	tool, err := Find("promtool")
	must(t, err)
	root, err := Root()
	must(t, err)
	version, err := tool.Version(root)
	must(t, err)
	want, err := tool.Binary(version)
	must(t, err)
	if end := filepath.Join("tools", "prometheus-"+version, filepath.Base(want)); !strings.HasSuffix(want, end) {
		t.Errorf("Binary() = %q; want it to end with %q", want, end)
	}
	must(t, os.MkdirAll(filepath.Dir(want), 0o755))
	must(t, os.WriteFile(want, nil, 0o755))
	if got, err := Path(tool.Name); err != nil || got != want {
		t.Errorf("Path() = %q, %v; want %q", got, err, want)
	}
}

func TestPath_Environment(t *testing.T) {
	const variable = "CONSUL_CLUSTER_EXPORTER_TOOL_GOLANGCI_LINT"
	file := filepath.Join(t.TempDir(), "another")
	t.Setenv(variable, file)
	if _, err := Path("golangci-lint"); err == nil || !strings.Contains(err.Error(), variable) {
		t.Errorf("Path() error = %v; want one that names the variable", err)
	}
	must(t, os.WriteFile(file, nil, 0o755))
	if got, err := Path("golangci-lint"); err != nil || got != file {
		t.Errorf("Path() = %q, %v; want %q", got, err, file)
	}
}

func TestRoot_Outside(t *testing.T) {
	t.Chdir(t.TempDir())
	if root, err := Root(); err == nil {
		t.Errorf("Root() = %q; want an error", root)
	}
}

// emptyCache makes an empty folder the user's cache folder, and no variable names another binary.
func emptyCache(t *testing.T) {
	t.Helper()
	for _, variable := range []string{"LocalAppData", "HOME", "XDG_CACHE_HOME"} { // Of Windows, macOS and the others.
		t.Setenv(variable, t.TempDir())
	}
	for _, tool := range Tools() {
		t.Setenv(tool.EnvVar(), "")
	}
}
