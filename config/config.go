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

	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/strictyaml"
)

// Config is a configuration file as it is written.
type Config struct {
	Modules map[string]*Module `yaml:"modules"`

	path string
}

// ValidConfig is a configuration file after validation.
type ValidConfig struct {
	modules map[string]*ValidModule
}

// Load reads a configuration file. Its error has all that is wrong with the file's form, one thing in a line, each
// with the file and the number of its line there.
func Load(path string) (*Config, error) {
	content, err := files.Read(path)
	if err != nil {
		return nil, err // Says "open <path>: ...".
	}
	c := &Config{path: path}
	if err := strictyaml.Decode(content, c); err != nil {
		return nil, strictyaml.InFile(path, err)
	}
	for _, m := range c.Modules {
		if m != nil {
			m.resolve(filepath.Dir(path))
		}
	}
	return c, nil
}

// moduleName is what can stand in a URL, in a log and before a key without quotes.
var moduleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Validate checks all modules and reads their files. Its error has all problems, one in a line, each with the file,
// the module and the key. For warn see Module.Validate; its keys here begin with the module.
func (c *Config) Validate(warn func(Problem)) (*ValidConfig, error) {
	if warn == nil {
		warn = func(Problem) {}
	}
	var problems []error
	if len(c.Modules) == 0 {
		problems = append(problems, Problem{"modules", errors.New("there is none")})
	}
	valid := &ValidConfig{modules: make(map[string]*ValidModule, len(c.Modules))}
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		prefix := "modules." + name
		note := func(err error) { problems = append(problems, Problem{prefix, err}) }
		m := c.Modules[name]
		if !moduleName.MatchString(name) {
			prefix = fmt.Sprintf("modules.%q", name)
			note(errors.New("the name has other characters than letters, digits, '_', '-' and '.'"))
		}
		if m == nil {
			note(errors.New("the module is empty"))
			continue
		}
		within := func(p Problem) Problem { return Problem{prefix + "." + p.Key, p.Err} }
		vm, wrong := m.Validate(func(p Problem) { warn(within(p)) })
		for _, p := range wrong {
			problems = append(problems, within(p))
		}
		if len(m.Targets) == 0 {
			problems = append(problems, within(Problem{"targets", errors.New("no target is allowed, so the module is of no use")}))
		}
		valid.modules[name] = vm
	}
	if len(problems) > 0 {
		return nil, strictyaml.InFile(c.path, errors.Join(problems...))
	}
	return valid, nil
}

// Module returns the module of a name.
func (c *ValidConfig) Module(name string) (*ValidModule, bool) {
	m, ok := c.modules[name]
	return m, ok
}

// Names returns the names of all modules, sorted.
func (c *ValidConfig) Names() []string { return slices.Sorted(maps.Keys(c.modules)) }

// keep takes over the modules of an earlier configuration that are the same in this one, so that whoever holds such a
// module can see that it has not changed.
func (c *ValidConfig) keep(earlier *ValidConfig) {
	for name, m := range c.modules {
		if old, ok := earlier.modules[name]; ok && old.same(m) {
			c.modules[name] = old
		}
	}
}
