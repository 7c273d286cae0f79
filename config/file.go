// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"sync"
	"time"
)

// File is a configuration file in use. It is safe for concurrent use.
type File struct {
	path string
	warn func(Problem)

	// reloading is held during a Reload, so that the last one to begin is the one that counts.
	reloading sync.Mutex

	mu      sync.Mutex
	current *ValidConfig // Guarded by mu: the last good one.
	good    bool         // Guarded by mu: the last load was good.
	loaded  time.Time    // Guarded by mu: when current was loaded.
}

// Open loads a configuration file for the first time. For warn see Config.Validate.
func Open(path string, warn func(Problem)) (*File, error) {
	f := &File{path: path, warn: warn, current: &ValidConfig{}}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload loads the file anew. If anything is wrong with it, everything stays as it was, and the error has all
// problems, one in a line. Modules that have not changed stay the same ones.
func (f *File) Reload() error {
	f.reloading.Lock()
	defer f.reloading.Unlock()
	valid, err := load(f.path, f.warn)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = err == nil
	if err != nil {
		return err
	}
	valid.keep(f.current)
	f.current, f.loaded = valid, time.Now()
	return nil
}

func load(path string, warn func(Problem)) (*ValidConfig, error) {
	c, err := Load(path)
	if err != nil {
		return nil, err
	}
	return c.Validate(warn)
}

// Module returns the current module of a name.
func (f *File) Module(name string) (*ValidModule, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.Module(name)
}

// Names returns the names of the current modules, sorted.
func (f *File) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.Names()
}

// LastReload returns whether the last load was good, the first one included, and when one was for the last time.
func (f *File) LastReload() (successful bool, success time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.good, f.loaded
}
