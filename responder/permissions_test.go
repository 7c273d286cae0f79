// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package responder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Whoever can write the configuration, a secret or a program decides what the responder does.
func TestConfig_CheckFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"config", "secret", "url", "hook"} {
		must.Do(t, os.WriteFile(path(name), nil, 0o700))
	}
	c := &Config{SecretFile: path("secret"), Rules: []RuleConfig{
		{Name: "a", Action: ActionConfig{Notify: &NotifyConfig{URLFile: path("url")}}},
		{Name: "b", Action: ActionConfig{Exec: &ExecConfig{Command: path("hook")}}},
	}}
	must.Do(t, c.CheckFiles(path("config")))
	for name, key := range map[string]string{
		"config": "--config.file", "secret": "secret_file", "url": "rules[0] (a).action.notify.url_file",
		"hook": "rules[1] (b).action.exec.command",
	} {
		for _, mode := range []os.FileMode{0o720, 0o702} {
			must.Do(t, os.Chmod(path(name), mode))
			err := c.CheckFiles(path("config"))
			if want := key + ": " + path(name) + " can be written by others ("; err == nil ||
				!strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s with %s: error %v; want %s", name, mode, err, want)
			}
		}
		must.Do(t, os.Chmod(path(name), 0o700))
	}
	if os.Geteuid() != 0 {
		return
	}
	must.Do(t, os.Chown(path("hook"), 12345, 0))
	if err := c.CheckFiles(path("config")); err == nil || !strings.Contains(err.Error(), "belongs to the user 12345") {
		t.Errorf("error %v; want that the program is another user's", err)
	}
}

// Whoever can write a folder above a program can put another one in its place.
func TestConfig_CheckFiles_Folders(t *testing.T) {
	t.Parallel()
	top := filepath.Dir(t.TempDir()) // Which nobody else can enter.
	folder := filepath.Join(top, "opt")
	inside := filepath.Join(folder, "bin")
	must.Do(t, os.MkdirAll(inside, 0o700))
	hook, linked := filepath.Join(inside, "hook"), filepath.Join(top, "linked")
	must.Do(t, os.WriteFile(hook, nil, 0o700))
	must.Do(t, os.Symlink(hook, linked))
	for _, tc := range []struct {
		top, folder os.FileMode // Of the two folders above it.
		want        string
	}{
		{0o755, 0o755, ""},
		{0o755, 0o777, "is in " + folder + ", which can be written by others (-rwxrwxrwx)"},
		{0o755, 0o775, "is in " + folder + ", which can be written by others (-rwxrwxr-x)"},
		{0o755, 0o777 | os.ModeSticky, ""},
		{0o700, 0o777, ""}, // Nobody else comes this far.
	} {
		must.Do(t, os.Chmod(top, tc.top))
		must.Do(t, os.Chmod(folder, tc.folder))
		for _, path := range []string{hook, linked} {
			for name, action := range map[string]ActionConfig{
				"exec.command":                     {Exec: &ExecConfig{Command: path}},
				"remove-dead-peer.confirm.command": {Remove: &RemoveConfig{Confirm: &ExecConfig{Command: path}}},
			} {
				err := (&Config{Rules: []RuleConfig{{Name: "a", Action: action}}}).CheckFiles("")
				want := fmt.Sprintf("rules[0] (a).action.%s: %s %s", name, path, tc.want)
				if (err == nil) != (tc.want == "") || (err != nil && !strings.HasPrefix(err.Error(), want)) {
					t.Errorf("folders with %s and %s: error %v; want %q", tc.top, tc.folder, err, tc.want)
				}
			}
		}
	}
}
