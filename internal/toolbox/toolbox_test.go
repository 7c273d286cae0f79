// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package toolbox

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestTools_Pinned checks every row of the table against the go.mod that it
// names: the version is there, and the package is a tool of that module.
func TestTools_Pinned(t *testing.T) {
	t.Parallel()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range Tools() {
		version, err := tool.Version(root)
		if err != nil {
			t.Errorf("Version of %s: %v", tool.Name, err)
			continue
		}
		if !strings.HasPrefix(version, "v") {
			t.Errorf("Version of %s = %q, want a version", tool.Name, version)
		}
		gomod, err := os.ReadFile(filepath.Join(root, "tools", tool.Folder, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		pinned := false
		for line := range strings.Lines(string(gomod)) {
			fields := strings.Fields(strings.TrimPrefix(line, "tool "))
			pinned = pinned || len(fields) == 1 && fields[0] == tool.Package
		}
		if !pinned {
			t.Errorf("tools/%s/go.mod has no tool line for %s", tool.Folder, tool.Package)
		}
	}
}

func TestRequiredVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, gomod, want string
	}{
		{"a single line", "module m\n\nrequire example.com/a v1.2.3\n", "v1.2.3"},
		{"in a block", "module m\n\nrequire (\n\texample.com/b v0.1.0\n\texample.com/a v1.2.4 // indirect\n)\n", "v1.2.4"},
		{"a longer path first", "require (\n\texample.com/a/v2 v2.0.0\n\texample.com/a v1.0.0\n)\n", "v1.0.0"},
		{"only a tool line", "tool example.com/a\n", ""},
		{"only replaced", "replace (\n\texample.com/a v1.0.0 => ../a\n)\n", ""},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := requiredVersion(test.gomod, "example.com/a"); got != test.want {
				t.Errorf("requiredVersion() = %q, want %q", got, test.want)
			}
		})
	}
}

// TestPath_NotBuilt points the cache at an empty folder.
func TestPath_NotBuilt(t *testing.T) {
	home := emptyCache(t)
	tests := []struct {
		tool, wantEnd string
	}{
		{"consul", " is not built; run: make tools"},
		{"golangci-lint", " is not built; run: go run ./tools golangci-lint"},
	}
	for _, test := range tests {
		t.Setenv(mustFind(t, test.tool).EnvVar(), "")
		_, err := Path(test.tool)
		if err == nil || !strings.HasPrefix(err.Error(), test.tool+" v") || !strings.HasSuffix(err.Error(), test.wantEnd) {
			t.Errorf("Path(%q) error = %v, want one that ends with %q", test.tool, err, test.wantEnd)
		}
		if err != nil && strings.Contains(err.Error(), home) {
			t.Errorf("Path(%q) error = %v, want no folder in it", test.tool, err)
		}
	}
}

func TestPath_Built(t *testing.T) {
	emptyCache(t)
	tool := mustFind(t, "promtool")
	t.Setenv(tool.EnvVar(), "")
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	version, err := tool.Version(root)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tool.Binary(version)
	if err != nil {
		t.Fatal(err)
	}
	if end := filepath.Join("tools", "prometheus-"+version, filepath.Base(want)); !strings.HasSuffix(want, end) {
		t.Errorf("Binary() = %q, want it to end with %q", want, end)
	}
	if err = os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(want, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := Path(tool.Name)
	if err != nil || got != want {
		t.Errorf("Path() = %q, %v, want %q", got, err, want)
	}
}

func TestPath_Environment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "another")
	t.Setenv("CONSUL_CLUSTER_EXPORTER_TOOL_GOLANGCI_LINT", file)
	if _, err := Path("golangci-lint"); err == nil || !strings.Contains(err.Error(), "CONSUL_CLUSTER_EXPORTER_TOOL_GOLANGCI_LINT") {
		t.Errorf("Path() error = %v, want one that names the variable", err)
	}
	if err := os.WriteFile(file, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := Path("golangci-lint")
	if err != nil || got != file {
		t.Errorf("Path() = %q, %v, want %q", got, err, file)
	}
}

func TestPath_UnknownTool(t *testing.T) {
	t.Parallel()
	_, err := Path("nomad")
	if err == nil || !strings.Contains(err.Error(), `"nomad"`) || !strings.Contains(err.Error(), "promtool") {
		t.Errorf("Path() error = %v, want one that names the tool and those there are", err)
	}
}

func TestRoot_Outside(t *testing.T) {
	t.Chdir(t.TempDir())
	if root, err := Root(); err == nil {
		t.Errorf("Root() = %q, want an error", root)
	}
}

// mustFind is Find for a tool that exists.
func mustFind(t *testing.T, name string) Tool {
	t.Helper()
	tool, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// emptyCache makes an empty folder the user's cache folder and returns it.
func emptyCache(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	switch runtime.GOOS {
	case "windows":
		t.Setenv("LocalAppData", home)
	case "darwin":
		t.Setenv("HOME", home)
	default:
		t.Setenv("XDG_CACHE_HOME", home)
	}
	return home
}
