// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/strictyaml"
)

// Config is a configuration file as it is written. docs/responder.example.yml says what each key means.
type Config struct {
	SecretFile      string        `yaml:"secret_file"`
	ExpectedServers int           `yaml:"expected_servers"`
	MaxPerHour      int           `yaml:"max_per_hour"`
	History         HistoryConfig `yaml:"history"`
	Rules           []RuleConfig  `yaml:"rules"`
}

// HistoryConfig says where the history is kept, and how much of it.
type HistoryConfig struct {
	File         string `yaml:"file"`
	MaxMegabytes int    `yaml:"max_megabytes"`
	Keep         int    `yaml:"keep"`
}

// RuleConfig says which alerts lead to which action, and when.
type RuleConfig struct {
	Name       string        `yaml:"name"`
	Cluster    string        `yaml:"cluster"`
	Matchers   []string      `yaml:"matchers"`
	Action     ActionConfig  `yaml:"action"`
	DryRun     bool          `yaml:"dry_run"`
	Cooldown   time.Duration `yaml:"cooldown"`
	MaxPerHour int           `yaml:"max_per_hour"`
	Window     time.Duration `yaml:"window"`
	Require    RequireConfig `yaml:"require"`
}

// RequireConfig are guards that an operator can make stricter.
type RequireConfig struct {
	// Margin is how many more voters may fail after the action at least.
	Margin int `yaml:"margin"`
	// MinVoters is how many voters there must be after the action at least.
	MinVoters int `yaml:"min_voters"`
}

// ActionConfig is one of the actions; the others are nil.
type ActionConfig struct {
	Transfer *TransferConfig `yaml:"transfer-leadership"`
	Remove   *RemoveConfig   `yaml:"remove-dead-peer"`
	Exec     *ExecConfig     `yaml:"exec"`
	Notify   *NotifyConfig   `yaml:"notify"`
}

// TransferConfig is that of transfer-leadership.
type TransferConfig struct {
	To string `yaml:"to"`
}

// RemoveConfig is that of remove-dead-peer.
type RemoveConfig struct {
	DeadFor           time.Duration `yaml:"dead_for"`
	RefusedHostIsDead bool          `yaml:"refused_host_is_dead"`
	SilentHostIsDead  bool          `yaml:"silent_host_is_dead"`
	Confirm           *ExecConfig   `yaml:"confirm"`
}

// ExecConfig is that of exec.
type ExecConfig struct {
	Command string        `yaml:"command"`
	Args    []string      `yaml:"args"`
	Timeout time.Duration `yaml:"timeout"`
}

// NotifyConfig is that of notify.
type NotifyConfig struct {
	URL     string        `yaml:"url"`
	URLFile string        `yaml:"url_file"`
	Timeout time.Duration `yaml:"timeout"`
}

// minVoters is how many voters a cluster must keep so that one of them may fail.
const minVoters = 3

// UnmarshalYAML begins with the defaults. This form of the method, unlike that with a node, keeps unknown keys errors.
func (r *RuleConfig) UnmarshalYAML(unmarshal func(any) error) error {
	type plain RuleConfig // Without this method.
	*r = RuleConfig{
		DryRun: true, Cooldown: 30 * time.Minute, MaxPerHour: 1, Window: 30 * time.Minute,
		Require: RequireConfig{MinVoters: minVoters},
	}
	return unmarshal((*plain)(r))
}

// UnmarshalYAML begins with the defaults.
func (r *RemoveConfig) UnmarshalYAML(unmarshal func(any) error) error {
	type plain RemoveConfig
	*r = RemoveConfig{DeadFor: 10 * time.Minute}
	return unmarshal((*plain)(r))
}

// UnmarshalYAML begins with the defaults.
func (e *ExecConfig) UnmarshalYAML(unmarshal func(any) error) error {
	type plain ExecConfig
	*e = ExecConfig{Timeout: time.Minute}
	return unmarshal((*plain)(e))
}

// UnmarshalYAML begins with the defaults.
func (n *NotifyConfig) UnmarshalYAML(unmarshal func(any) error) error {
	type plain NotifyConfig
	*n = NotifyConfig{Timeout: 10 * time.Second}
	return unmarshal((*plain)(n))
}

// Load reads a configuration file and checks it. Its error has all that is wrong with it, one thing in a line, each
// with the file. Paths are relative to its folder.
func Load(path string) (*Config, error) {
	content, err := files.Read(path)
	if err != nil {
		return nil, err // Says "open <path>: ...".
	}
	c := Config{MaxPerHour: 4, History: HistoryConfig{MaxMegabytes: 10, Keep: 5}}
	if err := strictyaml.Decode(content, &c); err != nil {
		return nil, strictyaml.InFile(path, err)
	}
	paths := []*string{&c.SecretFile, &c.History.File}
	for i := range c.Rules {
		if n := c.Rules[i].Action.Notify; n != nil {
			paths = append(paths, &n.URLFile)
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = inFolder(filepath.Dir(path), *p)
		}
	}
	if err := c.problems(); err != nil {
		return nil, strictyaml.InFile(path, err)
	}
	return &c, nil
}

// inFolder joins the two, but keeps a slash at the end, which says that a folder is meant.
func inFolder(folder, path string) string {
	joined := filepath.Join(folder, path)
	if os.IsPathSeparator(path[len(path)-1]) {
		joined += string(filepath.Separator)
	}
	return joined
}

// problems returns all that is wrong, except what the outside world must say: whether files can be read and written.
func (c *Config) problems() error {
	var errs []error
	want := expectation(func(ok bool, key, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
		}
	})
	want(c.ExpectedServers >= 1, "expected_servers", "%d is less than 1; say how many servers the cluster has",
		c.ExpectedServers)
	want(c.MaxPerHour >= 1, "max_per_hour", "%d is less than 1", c.MaxPerHour)
	h := &c.History
	want(h.File != "", "history.file",
		"there is none; without a history nobody could tell what was done, and it would be done again after a restart")
	_, name := filepath.Split(h.File)
	want(h.File == "" || !slices.Contains([]string{"", ".", ".."}, name), "history.file",
		"%s names a folder; name a file in it, such as /var/lib/consul-responder/history.jsonl", h.File)
	want(!ofAnotherHistory.MatchString(h.File), "history.file",
		"%s is the name of an older file or of the lock of another history; choose another one, such as "+
			"/var/lib/consul-responder/history.jsonl", h.File)
	want(1 <= h.MaxMegabytes && h.MaxMegabytes <= 1024, "history.max_megabytes", "%d is not between 1 and 1024",
		h.MaxMegabytes)
	want(1 <= h.Keep && h.Keep <= 100, "history.keep", "%d is not between 1 and 100", h.Keep)
	want(len(c.Rules) > 0, "rules", "there is none")
	earlier := make(map[string]bool)
	for i := range c.Rules {
		r := &c.Rules[i]
		wantRule := want.in(fmt.Sprintf("rules[%d] (%s).", i, r.Name))
		r.check(wantRule)
		wantRule(!earlier[r.Name], "name", "an earlier rule has the same")
		earlier[r.Name] = true
	}
	return errors.Join(errs...)
}

// expectation notes a problem with a key unless what is expected is so.
type expectation func(ok bool, key, format string, args ...any)

// in is for the keys of what has this key.
func (want expectation) in(prefix string) expectation {
	return func(ok bool, key, format string, args ...any) { want(ok, prefix+key, format, args...) }
}
