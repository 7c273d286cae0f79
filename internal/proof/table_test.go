// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

var (
	declaredTest = regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)
	buildTag     = regexp.MustCompile(`(?m)^//go:build (.*)$`)
)

// projectTests returns the tests of the project: those with the build tag prove as "folder.Test", and the names of
// those that `make test` runs.
func projectTests(t *testing.T, root string) (proofs map[string]bool, ordinary map[string]bool) {
	t.Helper()
	proofs, ordinary = make(map[string]bool), make(map[string]bool)
	must.Do(t, filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		content := must.Get(os.ReadFile(file))(t)
		folder := must.Get(filepath.Rel(root, filepath.Dir(file)))(t)
		tag := buildTag.FindSubmatch(content)
		for _, m := range declaredTest.FindAllSubmatch(content, -1) {
			switch name := string(m[1]); {
			case tag == nil || string(tag[1]) == "unix":
				ordinary[name] = true
			case strings.Contains(string(tag[1]), "prove"):
				proofs[filepath.ToSlash(folder)+"."+name] = true
			}
		}
		return nil
	}))
	return proofs, ordinary
}

// Each long proof of the project has its row in the table, and each row its test; all that a row names is there.
func TestTable(t *testing.T) {
	t.Parallel()
	root := must.Get(toolbox.Root())(t)
	proofs, ordinary := projectTests(t, root)
	var rows []string
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, p := range All() {
		switch {
		case !name.MatchString(p.Name) || !strings.HasSuffix(p.Claim, "."):
			t.Errorf("%s: want a name of lowercase letters, digits and hyphens, and a sentence as the claim", p.Name)
		case (p.Test == "") == (p.Document == nil):
			t.Errorf("%s: want either a test or a document", p.Name)
		case p.Test != "":
			rows = append(rows, p.Package+"."+p.Test)
			if !strings.HasPrefix(p.Test, "TestProve") || p.Timeout == 0 {
				t.Errorf("%s: test %s within %s; want a name that begins with TestProve, and a timeout", p.Name, p.Test, p.Timeout)
			}
		}
		for _, sample := range p.Samples {
			if !ordinary[sample] {
				t.Errorf("%s: there is no test %s that `make test` runs", p.Name, sample)
			}
		}
		if len(p.Code) == 0 || len(p.Tests) == 0 || len(p.Samples) == 0 {
			t.Errorf("%s: want at least one of each: code, tests, samples", p.Name)
		}
		for _, spec := range slices.Concat(p.Code, p.Tests) {
			args := []string{"ls-files", "--cached", "--others", "--exclude-standard", "--", spec}
			if files, err := repository(root).git(t.Context(), args...); err != nil || files == "" {
				t.Errorf("%s: there is no file %s, %v", p.Name, spec, err)
			}
		}
		if d := p.Document; d != nil {
			if _, problem, err := repository(root).proven(t.Context(), &p); err != nil || problem != "" {
				t.Errorf("%s: %s %s, %v; want a commit that changed what matches %s", p.Name, d.Path, problem, err, d.Written)
			}
		}
	}
	slices.Sort(rows)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(proofs)), rows); diff != "" {
		t.Errorf("proofs (-tests of the project with the build tag prove +rows of the table):\n%s", diff)
	}
	if !slices.IsSortedFunc(All(), func(a, b Proof) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in alphabetical order")
	}
}

// Each result is of a proof, and names nothing of the machine that it was made on.
func TestResults(t *testing.T) {
	t.Parallel()
	root := must.Get(toolbox.Root())(t)
	files := must.Get(filepath.Glob(filepath.Join(root, filepath.FromSlash(Folder), "*")))(t)
	clean := machineNames(root)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		p, ok := Find(name)
		if !ok || p.Test == "" {
			t.Errorf("%s is the result of no proof", path.Join(Folder, filepath.Base(file)))
			continue
		}
		result := must.Get(read(root, name))(t)
		content := must.Get(os.ReadFile(file))(t)
		if diff := cmp.Diff(clean(string(content)), string(content)); diff != "" {
			t.Errorf("%s names this machine (-without +file):\n%s", name, diff)
		}
		if len(result.Commit) != 40 || result.Date.IsZero() || result.Seed == 0 ||
			len(result.Tests) == 0 || result.Tests[0].Name != p.Test {
			t.Errorf("%s lacks a commit, a date, a seed, or the test %s: %+v", name, p.Test, result)
		}
	}
}
