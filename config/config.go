// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
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

// Load reads a configuration file. Its error has all that is wrong with the file's form, one thing in a line, each with the
// file and the number of its line there.
func Load(path string) (*Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err // Says "open <path>: ...".
	}
	c, err := parse(content)
	if err != nil {
		return nil, inFile(path, err)
	}
	c.path = path
	for _, m := range c.Modules {
		if m != nil {
			m.resolve(filepath.Dir(path))
		}
	}
	return c, nil
}

// inFile puts the file before each line of an error.
func inFile(path string, err error) error {
	var errs []error
	for line := range strings.Lines(err.Error()) {
		errs = append(errs, fmt.Errorf("%s: %s", path, strings.TrimSpace(line)))
	}
	return errors.Join(errs...)
}

// parse reads YAML strictly: what it does not know is an error.
func parse(content []byte) (*Config, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	c := &Config{}
	err := decoder.Decode(c)
	if err == nil {
		if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
			return nil, errors.New("the file has more than one document")
		}
		return c, nil
	}
	if errors.Is(err, io.EOF) {
		return c, nil // An empty file; Validate says what is missing.
	}
	var lines *yaml.TypeError
	if !errors.As(err, &lines) {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var errs []error
	for _, line := range lines.Errors {
		errs = append(errs, errors.New(readable(line)))
	}
	return nil, errors.Join(errs...)
}

var (
	unknownKey = regexp.MustCompile(`^(line \d+): field (.*) not found in type \S+$`)
	wrongType  = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal .* into (\S+)$`)
	duplicate  = regexp.MustCompile(`^(line \d+): mapping key ("[^"]*") already defined at (line \d+)$`)
)

// readable says for users what the library says for programmers. It leaves out values: someone may have written a secret where
// its file is wanted.
func readable(line string) string {
	if m := unknownKey.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s: there is no key %q here", m[1], m[2])
	}
	if m := duplicate.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("%s: %s is there already, in %s", m[1], m[2], m[3])
	}
	m := wrongType.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	want := "keys with values"
	switch m[2] {
	case "string":
		want = "a text"
	case "int":
		want = "a whole number"
	case "bool":
		want = "true or false"
	case "time.Duration":
		want = "a duration such as 500ms or 3s"
	case "[]string":
		want = "a list of texts"
	}
	return fmt.Sprintf("%s: want %s", m[1], want)
}

// moduleName is what can stand in a URL, in a log and before a key without quotes.
var moduleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Validate checks all modules and reads their files. Its error has all problems, one in a line, each with the file, the module and the
// key. For warn see Module.Validate; its keys here begin with the module.
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
		return nil, inFile(c.path, errors.Join(problems...))
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
