// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// workflow is what the tests want to know of a workflow of GitHub.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Needs       string
		Container   struct{ Image string }
		Strategy    struct {
			Matrix struct{ Target []string }
		}
		Steps []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

// workflows returns all of them, by file.
func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(".github/workflows/*.yml")
	harness.Must(t, err)
	all := make(map[string]workflow)
	for _, file := range files {
		content, err := os.ReadFile(file)
		harness.Must(t, err)
		var w workflow
		harness.Must(t, yaml.Unmarshal(content, &w))
		all[filepath.Base(file)] = w
	}
	for _, name := range []string{"e2e.yml", "fuzz.yml", "lint.yml", "matrix.yml", "release.yml", "test.yml"} {
		if len(all[name].Jobs) == 0 {
			t.Errorf("there is no workflow %s, or it has no job", name)
		}
	}
	return all
}

// Foreign code is pinned by what nobody can move, and has the rights that it needs.
func TestWorkflows_Pinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	for name, w := range workflows(t) {
		content, err := os.ReadFile(filepath.Join(".github", "workflows", name))
		harness.Must(t, err)
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimSpace(line); strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s: %q is not pinned by a commit, with its version behind it", name, line)
			}
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s has the permissions %v; want contents: read", name, w.Permissions)
		}
		for job, j := range w.Jobs {
			if len(j.Permissions) > 0 && name != "release.yml" {
				t.Errorf("%s: the job %s has the permissions %v; want none of its own", name, job, j.Permissions)
			}
			if j.Timeout == 0 {
				t.Errorf("%s: the job %s may run for six hours; give it timeout-minutes", name, job)
			}
			for _, s := range j.Steps {
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
					t.Errorf("%s: the job %s leaves its token to all steps; want persist-credentials: false", name, job)
				}
			}
		}
	}
}

// The targets that they make are there, and those that a change must pass are made.
func TestWorkflows_Targets(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("Makefile")
	harness.Must(t, err)
	targets := regexp.MustCompile(`\bmake ([a-z0-9-]+)`)
	made := make(map[string]string) // Where.
	for name, w := range workflows(t) {
		for _, j := range w.Jobs {
			for _, target := range j.Strategy.Matrix.Target {
				made[target] = name
			}
			for _, s := range j.Steps {
				for _, m := range targets.FindAllStringSubmatch(s.Run, -1) {
					made[m[1]] = name
				}
			}
		}
	}
	for target, name := range made {
		if !strings.Contains(string(makefile), "\n.PHONY: "+target+"\n") {
			t.Errorf("%s makes %s, which is no target of the Makefile", name, target)
		}
	}
	for _, target := range []string{"test", "test-browser", "test-stack", "test-packaging", "test-release", "test-matrix", "e2e", "lint", "fuzz", "proven", "release"} {
		if made[target] == "" {
			t.Errorf("no workflow makes %s", target)
		}
	}
}

// Each job of a release waits for the one that refuses it unless all is proven, which takes the whole history; and so does whoever makes a
// release by hand.
func TestWorkflows_ReleaseIsProven(t *testing.T) {
	t.Parallel()
	jobs := workflows(t)["release.yml"].Jobs
	for name, job := range jobs {
		if name != "proven" && job.Needs != "proven" {
			t.Errorf("the job %s needs %q; want it to need the job proven", name, job.Needs)
		}
	}
	steps := jobs["proven"].Steps
	if len(steps) == 0 || steps[0].With["fetch-depth"] != 0 || steps[len(steps)-1].Run != "make proven" {
		t.Errorf("the job proven has the steps %+v; want it to fetch all commits and to run make proven", steps)
	}
	out, err := exec.CommandContext(t.Context(), "make", "--dry-run", "release").CombinedOutput()
	harness.Must(t, err)
	if proven, rest, ok := strings.Cut(string(out), "-require\n"); !ok || strings.Contains(proven, "release --clean") || !strings.Contains(rest, "release --clean") {
		t.Errorf("make release would run\n%s\nwant it to require that all is proven first", out)
	}
}

// One Go builds all that is released and tested.
func TestWorkflows_Go(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("Dockerfile")
	harness.Must(t, err)
	m := regexp.MustCompile(`FROM --platform=\S+ (golang:([0-9.]+)-\S+) AS build`).FindSubmatch(dockerfile)
	if m == nil {
		t.Fatal("the Dockerfile has no image of Go")
	}
	image, version := string(m[1]), string(m[2])
	n := 0
	for name, w := range workflows(t) {
		for job, j := range w.Jobs {
			if j.Container.Image != "" {
				n++
				if j.Container.Image != image {
					t.Errorf("%s: the job %s runs in %s; the Dockerfile builds in %s", name, job, j.Container.Image, image)
				}
			}
			for _, s := range j.Steps {
				if strings.HasPrefix(s.Uses, "actions/setup-go@") {
					n++
					if s.With["go-version"] != version {
						t.Errorf("%s: the job %s has Go %v; the Dockerfile has %s", name, job, s.With["go-version"], version)
					}
				}
			}
		}
	}
	if n < 6 {
		t.Errorf("%d jobs have Go; want one in each workflow", n)
	}
	gomod, err := os.ReadFile("go.mod")
	harness.Must(t, err)
	if m := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindSubmatch(gomod); m == nil || !strings.HasPrefix(version, string(m[1])+".") {
		t.Errorf("go.mod wants another Go than %s", version)
	}
}
