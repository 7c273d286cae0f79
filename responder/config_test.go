// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The example has every key there is, and what it calls defaults are those.
func TestLoad_Example(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "docs", "responder.example.yml")
	c, err := Load(path)
	must(t, err)
	if c.SecretFile != filepath.Join("..", "docs", "responder-secret") || c.History.File != "/var/lib/consul-responder/history.jsonl" {
		t.Errorf("files %s and %s; want them relative to that of the configuration", c.SecretFile, c.History.File)
	}
	content, err := os.ReadFile(path)
	must(t, err)
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
	first := c.Rules[0]
	first.Name, first.Matchers = "", nil
	want := loadRule(t, "matchers: [a=b]\n    action: {transfer-leadership: {}}")
	want.Name, want.Matchers = "", nil
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("the first rule of the example differs from the defaults (-defaults +example):\n%s", diff)
	}
	if diff := cmp.Diff(defaultConfig().History, HistoryConfig{MaxMegabytes: c.History.MaxMegabytes, Keep: c.History.Keep}); diff != "" || c.MaxPerHour != defaultConfig().MaxPerHour {
		t.Errorf("the history of the example differs from the defaults, or max_per_hour (-defaults +example):\n%s", diff)
	}
}

// loadText loads a configuration with these rules.
func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "responder.yml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := Load(path)
	if err != nil {
		err = errorText(strings.ReplaceAll(err.Error(), path+": ", ""))
	}
	return c, err
}

type errorText string

func (e errorText) Error() string { return string(e) }

const head1 = "expected_servers: 3\nhistory: {file: h}\nrules:\n  - name: r\n    "

func loadRule(t *testing.T, rule string) RuleConfig {
	t.Helper()
	c, err := loadText(t, head1+rule)
	must(t, err)
	return c.Rules[0]
}

func TestLoad_Defaults(t *testing.T) {
	t.Parallel()
	want := RuleConfig{
		Name: "r", Matchers: []string{"a=b"}, Action: ActionConfig{Remove: &RemoveConfig{DeadFor: 10 * time.Minute}}, DryRun: true, Cooldown: 30 * time.Minute,
		MaxPerHour: 1, Require: RequireConfig{MinVoters: 3},
	}
	if diff := cmp.Diff(want, loadRule(t, "matchers: [a=b]\n    action: {remove-dead-peer: {}}\n    require: {margin: 0}")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := loadRule(t, "matchers: [a=b]\n    action: {exec: {command: /bin/true}}").Action.Exec.Timeout; got != time.Minute {
		t.Errorf("the timeout of exec is %s; want 1m", got)
	}
	if got := loadRule(t, "matchers: [a=b]\n    action: {notify: {url: 'http://a'}}").Action.Notify.Timeout; got != 10*time.Second {
		t.Errorf("the timeout of notify is %s; want 10s", got)
	}
}

func TestLoad_Bad(t *testing.T) {
	t.Parallel()
	rule := func(text string) string { return head1 + text }
	action := func(text string) string { return rule("matchers: [a=b]\n    action: " + text) }
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", []string{
			"expected_servers: 0 is less than 1; say how many servers the cluster has",
			"history.file: there is none; without a history nobody could tell what was done, and it would be done again after a restart",
			"rules: there is none",
		}},
		{"unknown key", "secret: x", []string{`line 1: there is no key "secret" here`}},
		{"unknown key of a rule", rule("match: x"), []string{`line 5: there is no key "match" here`}},
		{"unknown action", action("{reboot: {}}"), []string{`line 6: there is no key "reboot" here`}},
		{"no action", rule("matchers: [a=b]"), []string{
			"rules[0] (r).action: want one of transfer-leadership, remove-dead-peer, exec, notify, such as {transfer-leadership: {}}",
		}},
		{"an action without its options", action("{transfer-leadership: }"), []string{
			"rules[0] (r).action: want one of transfer-leadership, remove-dead-peer, exec, notify, such as {transfer-leadership: {}}",
		}},
		{"two actions", action("{transfer-leadership: {}, notify: {url: 'http://a'}}"), []string{
			"rules[0] (r).action: want one of transfer-leadership, remove-dead-peer, exec, notify, such as {transfer-leadership: {}}",
		}},
		{"limits", "expected_servers: 3\nmax_per_hour: 0\nhistory: {file: h, max_megabytes: 0, keep: 101}\nrules: [{name: 'a b', cooldown: 0s, max_per_hour: 0, " +
			"require: {margin: -1, min_voters: 2}, action: {remove-dead-peer: {dead_for: 0s}}}]", []string{
			"max_per_hour: 0 is less than 1", "history.max_megabytes: 0 is not between 1 and 1024", "history.keep: 101 is not between 1 and 100",
			"rules[0] (a b).name: \"a b\" has other characters than letters, digits, '_', '-' and '.', or none",
			"rules[0] (a b).matchers: there is none, so that any alert would do", "rules[0] (a b).cooldown: 0s is less than 1s",
			"rules[0] (a b).max_per_hour: 0 is less than 1", "rules[0] (a b).require.margin: -1 is less than 0: the quorum would be lost",
			"rules[0] (a b).require.min_voters: 2 is less than 3: no server could fail then", "rules[0] (a b).action.remove-dead-peer.dead_for: 0s is less than 1s",
		}},
		{"older file", strings.Replace(rule("matchers: [a=b]\n    action: {transfer-leadership: {}}"), "file: h", "file: /h.1", 1), []string{
			"history.file: /h.1 is the name of an older file or of the lock of another history; choose another one, such as /var/lib/consul-responder/history.jsonl",
		}},
		{"lock", strings.Replace(rule("matchers: [a=b]\n    action: {transfer-leadership: {}}"), "file: h", "file: /h.lock", 1), []string{
			"history.file: /h.lock is the name of an older file or of the lock of another history; choose another one, such as /var/lib/consul-responder/history.jsonl",
		}},
		{"slash", strings.Replace(action("{transfer-leadership: {}}"), "file: h", "file: /d/h/", 1), []string{
			"history.file: /d/h/ names a folder; name a file in it, such as /var/lib/consul-responder/history.jsonl",
		}},
		{"dots", strings.Replace(action("{transfer-leadership: {}}"), "file: h", "file: /d/..", 1), []string{
			"history.file: /d/.. names a folder; name a file in it, such as /var/lib/consul-responder/history.jsonl",
		}},
		{"same name", head1 + "matchers: [a=b]\n    action: {transfer-leadership: {}}\n  - name: r\n    matchers: [a=b]\n    action: {transfer-leadership: {}}", []string{
			"rules[1] (r).name: an earlier rule has the same",
		}},
		{"matcher", rule("matchers: [a]\n    action: {transfer-leadership: {}}"), []string{`rules[0] (r).matchers: "a" is no matcher; want for example severity="critical"`}},
		{"relative command", action("{exec: {command: hook}}"), []string{`rules[0] (r).action.exec.command: "hook" is no absolute path`}},
		{"missing command", action("{exec: {command: /missing}}"), []string{"rules[0] (r).action.exec.command: stat /missing: no such file or directory"}},
		{"folder", action("{exec: {command: /bin/, timeout: 0s}}"), []string{
			"rules[0] (r).action.exec.command: /bin/ is a folder", "rules[0] (r).action.exec.timeout: 0s is not between 1s and 1h",
		}},
		{"not executable", action("{exec: {command: /etc/passwd}}"), []string{"rules[0] (r).action.exec.command: /etc/passwd is not executable"}},
		{"a command line", action("{exec: {command: [/bin/true]}}"), []string{"line 6: want a text"}},
		{"URL", action("{notify: {url: desk.example, timeout: 2m}}"), []string{
			`rules[0] (r).action.notify.url: not a URL with http or https`, "rules[0] (r).action.notify.timeout: 2m0s is not between 1s and 1m",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := loadText(t, tc.text)
			if err == nil {
				t.Fatal("it is good; want it to be bad")
			}
			if diff := cmp.Diff(tc.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
		})
	}
}

// A relative path keeps its slash, which says that a folder is meant.
func TestLoad_RelativeFolder(t *testing.T) {
	t.Parallel()
	head := strings.Replace(head1, "file: h", "file: d/h/", 1)
	_, err := loadText(t, head+"matchers: [a=b]\n    action: {transfer-leadership: {}}")
	want := filepath.Join("d", "h") + string(filepath.Separator) + " names a folder"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want that d/h/ names a folder", err)
	}
}
