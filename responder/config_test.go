// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The example has every key there is, and what it calls defaults are those.
func TestLoad_Example(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "docs", "responder.example.yml")
	c := must.Get(Load(path))(t)
	secret := filepath.Join("..", "docs", "responder-secret")
	if c.SecretFile != secret || c.History.File != "/var/lib/consul-responder/history.jsonl" {
		t.Errorf("files %s and %s; want them relative to that of the configuration", c.SecretFile, c.History.File)
	}
	content := must.Get(os.ReadFile(path))(t)
	var keys func(reflect.Type)
	keys = func(of reflect.Type) {
		for field := range of.Fields() {
			key := field.Tag.Get("yaml")
			if !strings.Contains(string(content), key+":") {
				t.Errorf("the example lacks %s", key)
			}
			inner := field.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				keys(inner)
			}
		}
	}
	keys(reflect.TypeFor[Config]())
	defaults := must.Get(loadText(t, withRule(matching+transfer)))(t)
	for _, config := range []*Config{c, defaults} {
		config.SecretFile, config.ExpectedServers, config.History.File = "", 0, ""
		config.Rules = config.Rules[:1]
		config.Rules[0].Name, config.Rules[0].Cluster, config.Rules[0].Matchers = "", "", nil
	}
	if diff := cmp.Diff(defaults, c); diff != "" {
		t.Errorf("the example, up to its first rule, differs from the defaults (-defaults +example):\n%s", diff)
	}
}

// loadText loads a configuration. Its folder is called DIR in the error.
func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "responder.yml")
	must.Do(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := Load(path)
	if err != nil {
		err = errors.New(strings.NewReplacer(path+": ", "", dir, "DIR").Replace(err.Error()))
	}
	return c, err
}

// Parts of a rule.
const (
	matching = "cluster: any, matchers: [a=b], "
	transfer = "action: {transfer-leadership: {}}"
)

func withRule(rule string) string {
	return "expected_servers: 3\nhistory: {file: h}\nrules:\n- {name: r, " + rule + "}"
}

func TestLoad_Defaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ActionConfig{
		"{remove-dead-peer: {silent_host_is_dead: true}}": {
			Remove: &RemoveConfig{DeadFor: 10 * time.Minute, SilentHostIsDead: true},
		},
		"{exec: {command: /bin/true}}": {Exec: &ExecConfig{Command: "/bin/true", Timeout: time.Minute}},
		"{notify: {url: 'http://a'}}":  {Notify: &NotifyConfig{URL: "http://a", Timeout: 10 * time.Second}},
	} {
		c := must.Get(loadText(t, withRule(matching+"require: {margin: 0}, action: "+text)))(t)
		if diff := cmp.Diff(RuleConfig{
			Name: "r", Cluster: "any", Matchers: []string{"a=b"}, Action: want, DryRun: true, Cooldown: 30 * time.Minute,
			MaxPerHour: 1, Window: 30 * time.Minute, Require: RequireConfig{MinVoters: 3},
		}, c.Rules[0]); diff != "" {
			t.Errorf("%s: -want +got:\n%s", text, diff)
		}
	}
}

// A rule is for the alerts of the cluster that it names.
func TestRules_Cluster(t *testing.T) {
	t.Parallel()
	for named, labels := range map[string][]string{"production": {"production"}, "any": {"production", "test", ""}} {
		rule := withRule("cluster: " + named + ", matchers: [alertname=A], action: {notify: {url: 'http://a'}}")
		c := must.Get(loadText(t, rule))(t)
		r := new(Responder)
		must.Do(t, r.makeRules(Options{Config: c, Consul: cluster.New(cluster.Options{})}))
		for _, label := range []string{"production", "test", ""} {
			a := &Alert{Labels: map[string]string{"alertname": "A", "cluster": label}}
			if got := len(r.matching(a)) > 0; got != slices.Contains(labels, label) {
				t.Errorf("a rule for %s and an alert of %q: %v", named, label, got)
			}
		}
	}
}

func TestLoad_Bad(t *testing.T) {
	t.Parallel()
	const (
		oneAction = "rules[0] (r).action: want one of transfer-leadership, remove-dead-peer, exec, notify, " +
			"such as {transfer-leadership: {}}"
		other = " is the name of an older file or of the lock of another history; choose another one, " +
			"such as /var/lib/consul-responder/history.jsonl"
		folder = " names a folder; name a file in it, such as /var/lib/consul-responder/history.jsonl"
	)
	action := func(text string) string { return withRule(matching + "action: " + text) }
	file := func(name string) string {
		return strings.Replace(withRule(matching+transfer), "file: h", "file: "+name, 1)
	}
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"", []string{
			"expected_servers: 0 is less than 1; say how many servers the cluster has",
			"history.file: there is none; without a history nobody could tell what was done, " +
				"and it would be done again after a restart",
			"rules: there is none",
		}},
		{"secret: x", []string{`line 1: there is no key "secret" here`}},
		{withRule("match: x"), []string{`line 4: there is no key "match" here`}},
		{action("{reboot: {}}"), []string{`line 4: there is no key "reboot" here`}},
		{withRule("cluster: c, matchers: [a=b]"), []string{oneAction}},
		{action("{transfer-leadership: }"), []string{oneAction}}, // Its options are missing.
		{action("{transfer-leadership: {}, notify: {url: 'http://a'}}"), []string{oneAction}},
		{
			"expected_servers: 3\nmax_per_hour: 0\nhistory: {file: h, max_megabytes: 0, keep: 101}\n" +
				"rules: [{name: 'a b', cooldown: 0s, window: 25h, max_per_hour: 0, require: {margin: -1, min_voters: 2}, " +
				"action: {remove-dead-peer: {dead_for: 0s}}}]",
			[]string{
				"max_per_hour: 0 is less than 1",
				"history.max_megabytes: 0 is not between 1 and 1024",
				"history.keep: 101 is not between 1 and 100",
				"rules[0] (a b).name: \"a b\" has other characters than letters, digits, '_', '-' and '.', or none",
				"rules[0] (a b).cluster: there is none; name it as the label cluster of its alerts does, or write any",
				"rules[0] (a b).matchers: there is none, so that any alert would do",
				"rules[0] (a b).cooldown: 0s is less than 1s",
				"rules[0] (a b).window: 25h0m0s is not between 1s and 24h0m0s",
				"rules[0] (a b).max_per_hour: 0 is less than 1",
				"rules[0] (a b).require.margin: -1 is less than 0: the quorum would be lost",
				"rules[0] (a b).require.min_voters: 2 is less than 3: no server could fail then",
				"rules[0] (a b).action.remove-dead-peer.dead_for: 0s is less than 1s",
				"rules[0] (a b).action.remove-dead-peer: no server would ever count as dead: want refused_host_is_dead, " +
					"silent_host_is_dead or confirm",
			},
		},
		{file("/h.1"), []string{"history.file: /h.1" + other}},
		{file("/h.lock"), []string{"history.file: /h.lock" + other}},
		{file("/d/h/"), []string{"history.file: /d/h/" + folder}},
		{file("d/h/"), []string{"history.file: DIR/d/h/" + folder}},
		{file("/d/.."), []string{"history.file: /d/.." + folder}},
		{
			withRule(matching+transfer) + "\n- {name: r, " + matching + transfer + "}",
			[]string{"rules[1] (r).name: an earlier rule has the same"},
		},
		{
			withRule("cluster: any, matchers: [a], " + transfer),
			[]string{`rules[0] (r).matchers: "a" is no matcher; want for example severity="critical"`},
		},
		{
			action("{remove-dead-peer: {confirm: {command: hook}}}"),
			[]string{`rules[0] (r).action.remove-dead-peer.confirm.command: "hook" is no absolute path`},
		},
		{action("{exec: {command: hook}}"), []string{`rules[0] (r).action.exec.command: "hook" is no absolute path`}},
		{
			action("{exec: {command: /missing}}"),
			[]string{"rules[0] (r).action.exec.command: stat /missing: no such file or directory"},
		},
		{action("{exec: {command: /bin/, timeout: 0s}}"), []string{
			"rules[0] (r).action.exec.command: /bin/ is a folder",
			"rules[0] (r).action.exec.timeout: 0s is not between 1s and 1h",
		}},
		{
			action("{exec: {command: /etc/passwd}}"),
			[]string{"rules[0] (r).action.exec.command: /etc/passwd is not executable"},
		},
		{action("{exec: {command: [/bin/true]}}"), []string{"line 4: want a text"}},
		{action("{notify: {url: 'http://a', url_file: b}}"), []string{
			"rules[0] (r).action.notify.url_file: there is a url, too",
			"rules[0] (r).action.notify.url_file: open DIR/b: no such file or directory",
		}},
		{action("{notify: {url: desk.example, timeout: 2m}}"), []string{
			"rules[0] (r).action.notify.url: not a URL with http or https",
			"rules[0] (r).action.notify.timeout: 2m0s is not between 1s and 1m",
		}},
	} {
		_, err := loadText(t, tc.text)
		if err == nil {
			t.Errorf("it is good:\n%s", tc.text)
		} else if diff := cmp.Diff(tc.want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("problems of the following differ (-want +got):\n%s\n%s", diff, tc.text)
		}
	}
}
