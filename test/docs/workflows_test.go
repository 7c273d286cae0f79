// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// workflow is what the tests look at in a workflow of GitHub.
type workflow struct {
	content     string
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Needs       string
	}
}

// workflows returns all of them, by file.
func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	all := make(map[string]workflow)
	for _, file := range must.Get(filepath.Glob(".github/workflows/*.yml"))(t) {
		content := must.Get(os.ReadFile(file))(t)
		w := workflow{content: string(content)}
		must.Do(t, yaml.Unmarshal(content, &w))
		all[filepath.Base(file)] = w
	}
	return all
}

// Workflows pin actions to a commit, have only the permissions that they need, and have time limits. A release, by
// hand or not, requires that all is proven.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	if !strings.Contains(string(must.Get(os.ReadFile("Makefile"))(t)), "\nrelease: proven\n") {
		t.Error("make release does not require the target proven")
	}
	uses := regexp.MustCompile(`uses: .*`)
	pinned := regexp.MustCompile(`^uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	for name, w := range workflows(t) {
		for _, line := range uses.FindAllString(w.content, -1) {
			if !pinned.MatchString(line) {
				t.Errorf("%s: %q is not pinned by a commit, with its version behind it", name, line)
			}
		}
		if diff := cmp.Diff(map[string]string{"contents": "read"}, w.Permissions); diff != "" {
			t.Errorf("%s has other permissions (-want +got):\n%s", name, diff)
		}
		if strings.Count(w.content, "actions/checkout@") != strings.Count(w.content, "persist-credentials: false") {
			t.Errorf("%s leaves its token to all steps; want persist-credentials: false", name)
		}
		for job, j := range w.Jobs {
			if len(j.Permissions) > 0 && name != "release.yml" || j.Timeout == 0 {
				t.Errorf("%s: job %s has permissions %v and %d minutes; want none and a limit", name, job, j.Permissions, j.Timeout)
			}
			if name == "release.yml" && job != "proven" && j.Needs != "proven" {
				t.Errorf("%s: job %s does not wait for the one that requires all proofs", name, job)
			}
		}
	}
}

// Workflows make only targets that exist, make all that a change must pass, and use the Go that builds releases.
func TestWorkflows_Targets(t *testing.T) {
	t.Parallel()
	contents := string(must.Get(os.ReadFile("Dockerfile"))(t))
	for _, w := range workflows(t) {
		contents += w.content
	}
	targets := declared(t, []string{"Makefile"}, `([a-z0-9-]+):`)
	var made, toolchains []string
	for _, m := range regexp.MustCompile(`make ([a-z0-9-]+)|target: \[(.*)\]`).FindAllStringSubmatch(contents, -1) {
		made = append(made, strings.Split(m[1]+m[2], ", ")...)
	}
	for _, target := range made {
		if !slices.Contains(targets, target) {
			t.Errorf("a workflow makes %q, which is no target of the Makefile", target)
		}
	}
	for _, target := range []string{"test", "test-stack", "test-packaging", "test-browser", "e2e", "lint", "proven"} {
		if !slices.Contains(made, target) {
			t.Errorf("no workflow makes %s", target)
		}
	}
	for _, m := range regexp.MustCompile(`(?:go-version: |golang:)([0-9.]+)`).FindAllStringSubmatch(contents, -1) {
		toolchains = append(toolchains, m[1])
	}
	if versions := unique(toolchains); len(versions) != 1 {
		t.Errorf("workflows and Dockerfile use Go %q; want one version", versions)
	}
}
