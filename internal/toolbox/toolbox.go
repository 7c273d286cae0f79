// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package toolbox knows the programs that tests, the demo and the Makefile run but that are no part of the exporter:
// Consul itself, Prometheus, Alertmanager and the linters.
//
// Each program is pinned by a Go module of its own below tools/, is built from source by "make tools" (which runs
// tools/main.go), and lives in the user's cache folder, named after its version, so that checkouts share it:
//
//	<user cache>/consul_cluster_exporter/tools/consul-v1.22.5/consul
//
// An environment variable per program takes another binary instead, for example to run the tests against an older
// Consul. Its name is CONSUL_CLUSTER_EXPORTER_TOOL_ and the program's name in capitals, with "_" in place of "-" and
// ".":
//
//	CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL=/usr/local/bin/consul go test ./...
//
// The package needs nothing but the standard library and never builds or runs anything by itself.
package toolbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// modulePath is the module line of the repository's own go.mod, by which its root is recognised.
const modulePath = "github.com/zervigo/consul_cluster_exporter"

// A Tool is one program and where it comes from.
type Tool struct {
	// Name is the name of the program, without ".exe".
	Name string
	// Folder is the folder below tools/ whose go.mod pins the version.
	Folder string
	// Module is the path of the Go module that holds the program; its version
	// in that go.mod is the version of the program.
	Module string
	// Package is the import path of the program.
	Package string
	// Tags are the build tags, separated by commas; mostly empty.
	Tags string
	// LDFlags are further flags for the linker; mostly empty.
	LDFlags string
	// Default says whether the program is built when no name is given.
	Default bool
	// FirstBuild is how long a build with an empty cache takes on two cores, in words, for whoever waits for it.
	FirstBuild string

	// home is the first part of the cache folder's name: programs of one project share a folder.
	home string
}

// tools is the table of all tools, in the order in which they are built.
var tools = []Tool{
	{
		Name: "consul", Folder: "consul", home: "consul", Default: true, FirstBuild: "6 to 7 minutes",
		Module: "github.com/hashicorp/consul", Package: "github.com/hashicorp/consul",
	},
	{
		Name: "prometheus", Folder: "prometheus", home: "prometheus", Default: true, FirstBuild: "4 to 5 minutes",
		Module: "github.com/prometheus/prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus",
		// Service discovery for two dozen clouds is most of Prometheus's size and
		// build time; rules and static targets do not need it.
		Tags: "remove_all_sd",
	},
	{
		Name: "promtool", Folder: "prometheus", home: "prometheus", Default: true, FirstBuild: "1 minute after prometheus",
		Module: "github.com/prometheus/prometheus", Package: "github.com/prometheus/prometheus/cmd/promtool",
		Tags: "remove_all_sd",
	},
	{
		// The oldest Prometheus that the rule files are for.
		Name: "promtool-2.42", Folder: "prometheus-2.42", home: "prometheus-2.42", Default: true, FirstBuild: "3 minutes",
		Module: "github.com/prometheus/prometheus", Package: "github.com/prometheus/prometheus/cmd/promtool",
		Tags: "remove_all_sd",
	},
	{
		Name: "alertmanager", Folder: "alertmanager", home: "alertmanager", Default: true, FirstBuild: "1 minute",
		Module: "github.com/prometheus/alertmanager", Package: "github.com/prometheus/alertmanager/cmd/alertmanager",
	},
	{
		Name: "amtool", Folder: "alertmanager", home: "alertmanager", Default: true, FirstBuild: "half a minute after alertmanager",
		Module: "github.com/prometheus/alertmanager", Package: "github.com/prometheus/alertmanager/cmd/amtool",
	},
	{
		// Of the oldest Alertmanager that the example is for.
		Name: "amtool-0.25", Folder: "alertmanager-0.25", home: "alertmanager-0.25", Default: true, FirstBuild: "1 minute",
		Module: "github.com/prometheus/alertmanager", Package: "github.com/prometheus/alertmanager/cmd/amtool",
	},
	{
		Name: "staticcheck", Folder: "check", home: "staticcheck", Default: true, FirstBuild: "half a minute",
		Module: "honnef.co/go/tools", Package: "honnef.co/go/tools/cmd/staticcheck",
	},
	{
		Name: "gofumpt", Folder: "check", home: "gofumpt", Default: true, FirstBuild: "a few seconds",
		Module: "mvdan.cc/gofumpt", Package: "mvdan.cc/gofumpt",
	},
	{
		// What this exporter takes the place of; tests compare the two.
		Name: "consul_exporter", Folder: "consul_exporter", home: "consul_exporter", Default: true, FirstBuild: "a few seconds",
		Module: "github.com/prometheus/consul_exporter", Package: "github.com/prometheus/consul_exporter/cmd/consul_exporter",
	},
	{
		// Older Consuls, for make test-matrix.
		Name: "consul-1.19", Folder: "consul-1.19", home: "consul-1.19", FirstBuild: "4 minutes",
		Module: "github.com/hashicorp/consul", Package: "github.com/hashicorp/consul",
	},
	{
		Name: "consul-1.13", Folder: "consul-1.13", home: "consul-1.13", FirstBuild: "3 minutes",
		Module: "github.com/hashicorp/consul", Package: "github.com/hashicorp/consul",
		// Some of its dependencies reach into the runtime of Go, which Go has forbidden since.
		LDFlags: "-checklinkname=0",
	},
	{
		// golangci-lint bundles a hundred linters and takes its time to build: it is asked for by name.
		Name: "golangci-lint", Folder: "lint", home: "golangci-lint", FirstBuild: "4 to 5 minutes",
		Module: "github.com/golangci/golangci-lint/v2", Package: "github.com/golangci/golangci-lint/v2/cmd/golangci-lint",
	},
	{
		Name: "actionlint", Folder: "actionlint", home: "actionlint", FirstBuild: "half a minute",
		Module: "github.com/rhysd/actionlint", Package: "github.com/rhysd/actionlint/cmd/actionlint",
	},
	{
		// What makes a release, and the list of what is in it; see make snapshot.
		Name: "goreleaser", Folder: "goreleaser", home: "goreleaser", FirstBuild: "4 to 5 minutes",
		Module: "github.com/goreleaser/goreleaser/v2", Package: "github.com/goreleaser/goreleaser/v2",
	},
	{
		Name: "syft", Folder: "syft", home: "syft", FirstBuild: "3 to 4 minutes",
		Module: "github.com/anchore/syft", Package: "github.com/anchore/syft/cmd/syft",
	},
}

// Tools returns all tools, in the order in which they are built.
func Tools() []Tool {
	return slices.Clone(tools)
}

// Find returns the tool of this name. The error lists the names there are.
func Find(name string) (Tool, error) {
	names := make([]string, 0, len(tools))
	for _, t := range tools {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Tool{}, fmt.Errorf("there is no tool %q, only %s", name, strings.Join(names, ", "))
}

// EnvVar returns the name of the environment variable that takes another binary instead of the one in the cache.
func (t Tool) EnvVar() string {
	return "CONSUL_CLUSTER_EXPORTER_TOOL_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(t.Name))
}

// Version returns the version that the go.mod in the tool's folder below root, the root of the repository, pins.
func (t Tool) Version(root string) (string, error) {
	file := filepath.Join(root, "tools", t.Folder, "go.mod")
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", t.Name, err)
	}
	version := requiredVersion(string(content), t.Module)
	if version == "" {
		return "", fmt.Errorf("read the version of %s: %s does not require %s", t.Name, file, t.Module)
	}
	return version, nil
}

// Binary returns where the tool's binary of this version lives once it is built, whether it is built or not.
func (t Tool) Binary(version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder for %s: %w", t.Name, err)
	}
	name := t.Name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(cache, "consul_cluster_exporter", "tools", t.home+"-"+version, name), nil
}

// Path returns the binary of the tool of this name: the one that its environment variable names, else the one in the
// cache. It is an error, of one sentence that says what to do, if there is no such file.
func Path(name string) (string, error) {
	t, err := Find(name)
	if err != nil {
		return "", err
	}
	if path := os.Getenv(t.EnvVar()); path != "" {
		if err = mustBeFile(path); err != nil {
			return "", fmt.Errorf("%s names no usable %s: %w", t.EnvVar(), t.Name, err)
		}
		return path, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	version, err := t.Version(root)
	if err != nil {
		return "", err
	}
	path, err := t.Binary(version)
	if err != nil {
		return "", err
	}
	err = mustBeFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		command := "make tools"
		if !t.Default {
			command = "go run ./tools " + t.Name
		}
		return "", fmt.Errorf("%s %s is not built; run: %s", t.Name, version, command)
	}
	if err != nil {
		return "", fmt.Errorf("find %s %s: %w", t.Name, version, err)
	}
	return path, nil
}

// Root returns the root of the repository: the nearest folder from the working directory upwards whose go.mod is the
// exporter's. Go runs tests in the folder of their package, so this works in every test.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the root of the repository: %w", err)
	}
	for dir := start; ; {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && moduleLine(string(content)) == modulePath:
			return dir, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("find the root of the repository: %w", err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find the root of the repository: no go.mod of %s in %s or above", modulePath, start)
		}
		dir = parent
	}
}

// mustBeFile returns an error if path is not an existing file.
func mustBeFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder", path)
	}
	return nil
}

// moduleLine returns the path in the module line of a go.mod, or "".
func moduleLine(gomod string) string {
	for line := range strings.Lines(gomod) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return fields[1]
		}
	}
	return ""
}

// requiredVersion returns the version at which a go.mod requires a module, or
// "". It reads lines, as the go command writes them, and no more of the syntax.
func requiredVersion(gomod, module string) string {
	block := ""
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == ")":
			block = ""
		case len(fields) == 2 && fields[1] == "(":
			block = fields[0]
		case block == "require" && len(fields) >= 2 && fields[0] == module:
			return fields[1]
		case fields[0] == "require" && len(fields) >= 3 && fields[1] == module:
			return fields[2]
		}
	}
	return ""
}
