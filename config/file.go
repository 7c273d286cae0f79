// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/strictyaml"
)

// File is a configuration file in use. It is safe for concurrent use.
type File struct {
	path string
	warn func(Problem)

	// reloading is held during a Reload, so that the last one to begin is the one that counts.
	reloading sync.Mutex

	mu      sync.Mutex
	current map[string]*ValidModule // Guarded by mu: those of the last good load, by name.
	good    bool                    // Guarded by mu: the last load was good.
	loaded  time.Time               // Guarded by mu: when current was loaded.
}

// Open loads a configuration file for the first time. For warn see Module.Validate; its keys here begin with the
// module.
func Open(path string, warn func(Problem)) (*File, error) {
	f := &File{path: path, warn: warn}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload loads the file again. If anything is wrong with it, everything stays as it was, and the error has all
// problems, one in a line. Modules that have not changed stay the same ones, so that the holder of one can see that.
func (f *File) Reload() error {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	modules, err := load(f.path, f.warn)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = err == nil
	if err != nil {
		return err
	}
	for name, m := range modules {
		if old, ok := f.current[name]; ok && old.same(m) {
			modules[name] = old
		}
	}
	f.current, f.loaded = modules, time.Now()
	return nil
}

// Module returns the current module of a name.
func (f *File) Module(name string) (*ValidModule, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.current[name]
	return m, ok
}

// Names returns the names of the current modules, sorted.
func (f *File) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.current))
}

// LastReload returns whether the last load was good, the first one included, and when one was for the last time.
func (f *File) LastReload() (successful bool, success time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.good, f.loaded
}

// load reads a configuration file and validates its modules. Its error has all problems, one in a line: what is wrong
// with the file's form, each with the number of its line there, or else with the modules, each with the module and key.
func load(path string, warn func(Problem)) (map[string]*ValidModule, error) {
	content, err := files.Read(path)
	if err != nil {
		return nil, err // Says "open <path>: ...".
	}
	type document struct { // Errors about it have no place for a type without a name.
		Modules map[string]*Module `yaml:"modules"`
	}
	var written document
	if err := strictyaml.Decode(content, &written); err != nil {
		return nil, strictyaml.InFile(path, err)
	}
	if warn == nil {
		warn = func(Problem) {}
	}
	var problems []error
	if len(written.Modules) == 0 {
		problems = append(problems, Problem{
			"modules",
			errors.New("there is none; want for example {dc1: {targets: [10.0.0.0/8]}}"),
		})
	}
	valid := make(map[string]*ValidModule)
	for _, name := range slices.Sorted(maps.Keys(written.Modules)) {
		vm, wrong := validate(name, written.Modules[name], filepath.Dir(path), warn)
		valid[name] = vm
		problems = append(problems, wrong...)
	}
	if len(problems) > 0 {
		return nil, strictyaml.InFile(path, errors.Join(problems...))
	}
	return valid, nil
}

// moduleName is what can stand in a URL, in a log and before a key without quotes.
var moduleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// validate validates a module of a file in a folder.
func validate(name string, m *Module, folder string, warn func(Problem)) (valid *ValidModule, problems []error) {
	prefix := "modules." + name
	note := func(key string, err error) { problems = append(problems, Problem{prefix + key, err}) }
	if !moduleName.MatchString(name) {
		prefix = fmt.Sprintf("modules.%q", name)
		note("", errors.New("the name has other characters than letters, digits, '_', '-' and '.'; want for example dc1"))
	}
	if m == nil {
		note("", errors.New("the module is empty; want for example {targets: [10.0.0.0/8]}"))
		return nil, problems
	}
	m.resolve(folder)
	valid, wrong := m.Validate(func(p Problem) { warn(Problem{prefix + "." + p.Key, p.Err}) })
	for _, p := range wrong {
		note("."+p.Key, p.Err)
	}
	if len(m.Targets) == 0 {
		note(".targets", errors.New("no target is allowed, so the module is of no use; want for example [10.0.0.0/8]"))
	}
	return valid, problems
}
