// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package toolbox knows the programs that tests, the demo and the Makefile run but that are no part of the exporter:
// Consul itself, Prometheus, Alertmanager and the linters.
//
// Each program is pinned by its own Go module below tools/, is built from source by "make tools" (which runs
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
// Only "make demo" also takes programs from PATH: see internal/demo.
//
// The package needs nothing but the standard library and never builds or runs anything by itself.
package toolbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// moduleLine begins the repository's own go.mod, by which its root is recognized.
const moduleLine = "module github.com/zervigo/consul_cluster_exporter\n"

// A Tool is one program and where it comes from.
type Tool struct {
	// Name is the name of the program, without ".exe".
	Name string
	// Folder is the folder below tools/ whose go.mod pins the version; default Name.
	Folder string
	// Module is the path of the Go module that holds the program; its version in that go.mod is the version of the
	// program.
	Module string
	// Command is the folder of the program in the module; "" is the top one.
	Command string
	// Tags are the build tags, separated by commas; mostly empty.
	Tags string
	// LDFlags are further flags for the linker; mostly empty.
	LDFlags string
	// Default says whether the program is built when no name is given.
	Default bool
	// FirstBuild is how long a build with an empty cache takes on two cores, in words.
	FirstBuild string

	// home is the first part of the cache folder's name; default Folder: programs of one project share a folder.
	home string
}

const (
	consul       = "github.com/hashicorp/consul"
	prometheus   = "github.com/prometheus/prometheus"
	alertmanager = "github.com/prometheus/alertmanager"
	// Service discovery for two dozen clouds is most of Prometheus's size and build time; rules and static targets do
	// not need it.
	withoutDiscovery = "remove_all_sd"
)

// tools is the table of all tools, in the order in which they are built.
var tools = []Tool{
	{Name: "consul", Module: consul, Default: true, FirstBuild: "6 to 7 minutes"},
	{
		Name: "prometheus", Module: prometheus, Command: "cmd/prometheus", Tags: withoutDiscovery,
		Default: true, FirstBuild: "4 to 5 minutes",
	},
	{
		Name: "promtool", Folder: "prometheus", Module: prometheus, Command: "cmd/promtool", Tags: withoutDiscovery,
		Default: true, FirstBuild: "1 minute after prometheus",
	},
	{
		// The oldest Prometheus that the rule files are for.
		Name: "promtool-2.42", Folder: "prometheus-2.42", Module: prometheus, Command: "cmd/promtool", Tags: withoutDiscovery,
		Default: true, FirstBuild: "3 minutes",
	},
	{
		Name: "alertmanager", Module: alertmanager, Command: "cmd/alertmanager",
		Default: true, FirstBuild: "1 minute",
	},
	{
		Name: "amtool", Folder: "alertmanager", Module: alertmanager, Command: "cmd/amtool",
		Default: true, FirstBuild: "half a minute after alertmanager",
	},
	{
		// The oldest Alertmanager that the example is for.
		Name: "amtool-0.25", Folder: "alertmanager-0.25", Module: alertmanager, Command: "cmd/amtool",
		Default: true, FirstBuild: "1 minute",
	},
	{
		// It renders the mixin as those who import it do.
		Name: "jsonnet", Module: "github.com/google/go-jsonnet", Command: "cmd/jsonnet",
		Default: true, FirstBuild: "half a minute",
	},
	{
		Name: "staticcheck", Folder: "check", home: "staticcheck", Module: "honnef.co/go/tools", Command: "cmd/staticcheck",
		Default: true, FirstBuild: "half a minute",
	},
	{
		Name: "gofumpt", Folder: "check", home: "gofumpt", Module: "mvdan.cc/gofumpt",
		Default: true, FirstBuild: "a few seconds",
	},
	{
		// This exporter replaces it; tests compare the two.
		Name: "consul_exporter", Module: "github.com/prometheus/consul_exporter", Command: "cmd/consul_exporter",
		Default: true, FirstBuild: "a few seconds",
	},
	// Older Consuls, for make test-matrix.
	{Name: "consul-1.19", Module: consul, FirstBuild: "4 minutes"},
	{Name: "consul-1.17", Module: consul, FirstBuild: "4 minutes"},
	// Some dependencies of this one reach into the runtime of Go, which Go has forbidden since.
	{Name: "consul-1.13", Module: consul, LDFlags: "-checklinkname=0", FirstBuild: "3 minutes"},
	// golangci-lint bundles a hundred linters and takes a long time to build, so it is built only by name.
	{
		Name: "golangci-lint", Folder: "lint", home: "golangci-lint", Module: "github.com/golangci/golangci-lint/v2",
		Command: "cmd/golangci-lint", FirstBuild: "4 to 5 minutes",
	},
	{Name: "actionlint", Module: "github.com/rhysd/actionlint", Command: "cmd/actionlint", FirstBuild: "half a minute"},
	// What makes a release, and the list of what is in it; see make snapshot.
	{Name: "goreleaser", Module: "github.com/goreleaser/goreleaser/v2", FirstBuild: "4 to 5 minutes"},
	{Name: "syft", Module: "github.com/anchore/syft", Command: "cmd/syft", FirstBuild: "3 to 4 minutes"},
}

// Tools returns all tools, in the order in which they are built.
func Tools() []Tool { return slices.Clone(tools) }

// Find returns the tool of this name. The error lists all names.
func Find(name string) (Tool, error) {
	var names []string
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

// Package returns the import path of the program.
func (t Tool) Package() string { return path.Join(t.Module, t.Command) }

// Dir returns the folder of the Go module that pins the tool, below root, which is that of the repository.
func (t Tool) Dir(root string) string { return filepath.Join(root, "tools", cmp.Or(t.Folder, t.Name)) }

// Version returns the version that is pinned.
func (t Tool) Version(root string) (string, error) {
	file := filepath.Join(t.Dir(root), "go.mod")
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

// requiredVersion returns the version at which a go.mod, as the go command writes it, requires a module, or "".
func requiredVersion(gomod, module string) string {
	line := regexp.MustCompile(`(?m)^(?:require |\t)` + regexp.QuoteMeta(module) + ` (v\S+)(?: //.*)?$`)
	if match := line.FindStringSubmatch(gomod); match != nil {
		return match[1]
	}
	return ""
}

// Binary returns where the tool's binary of this version is once it is built, whether it is built or not.
func (t Tool) Binary(version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder for %s: %w", t.Name, err)
	}
	name := t.Name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	folder := cmp.Or(t.home, t.Folder, t.Name) + "-" + version
	return filepath.Join(cache, "consul_cluster_exporter", "tools", folder, name), nil
}

// ErrNotBuilt is the error of a tool that "make tools", or go run ./tools with its name, has not built yet.
var ErrNotBuilt = errors.New("not built")

// Path returns the binary of the tool of this name: the one that its environment variable names, else the one in the
// cache. It is an error, of one sentence that says what to do, if there is no such file.
func Path(name string) (string, error) {
	t, err := Find(name)
	if err != nil {
		return "", err
	}
	if path := os.Getenv(t.EnvVar()); path != "" {
		if err := mustBeFile(path); err != nil {
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
	if err := mustBeFile(path); errors.Is(err, fs.ErrNotExist) {
		command := "make tools"
		if !t.Default {
			command = "go run ./tools " + t.Name
		}
		return "", fmt.Errorf("%s %s is %w; run: %s", t.Name, version, ErrNotBuilt, command)
	} else if err != nil {
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
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), moduleLine) {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the root of the repository: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the root of the repository: it is not %s or above", start)
		}
	}
}

// mustBeFile returns an error if path is not an existing file.
func mustBeFile(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", path)
	}
	return err
}
