// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, name string) []byte {
	t.Helper()
	return get(os.ReadFile(filepath.Join(root, name)))(t)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// get returns a value, or ends the test if there is an error: get(os.ReadFile(path))(t).
func get[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return value
	}
}

// command runs a program in a folder, with these variables added to the environment, and returns what it prints.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(bytes.TrimSpace(out))
}

// buildOf are the variables of a build with a version and a revision, which expectVersion looks for.
var buildOf = []string{"VERSION=1.2.3", "REVISION=0123456789abcdef"}

func expectVersion(t *testing.T, binary string) {
	t.Helper()
	const want = "version 1.2.3\n  revision: 0123456789abcdef\n"
	if got := command(t, ".", nil, binary, "--version"); !strings.Contains(got, want) {
		t.Errorf("--version prints %q; want %q", got, want)
	}
}

// copyTree copies the repository to a new folder, without what git does not track by its nature and what omit names.
// The names have slashes and are relative to the root; of a folder that is omitted all is.
func copyTree(t *testing.T, omit func(name string, dir bool) bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		if name == ".git" || name == "dist" || omit(name, entry.IsDir()) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		target := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(target), 0o755))
		return os.WriteFile(target, get(os.ReadFile(path))(t), 0o644)
	}))
	return dir
}
