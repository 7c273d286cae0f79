// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// bench is a project with a proof, in its own repository.
type bench struct {
	*testing.T
	runner Runner
	proof  Proof
	log    strings.Builder
}

const (
	sampleCode  = "package sample\n\nfunc Answer() int { return 42 }\n"
	sampleProof = `//go:build prove

package sample

import (
	"os"
	"testing"
)

func TestProveAnswer(t *testing.T) {
	dir, _ := os.Getwd()
	t.Attr("figure", "answers: 1")
	t.Attr("other", "not a figure")
	t.Log("said by the test")
	t.Run("again", func(t *testing.T) {
		if Answer() != 42 {
			t.Error("another answer")
		}
		t.Attr("figure", "folder: "+dir+"/x")
		t.Attr("figure", "seed: "+os.Getenv("PROVE_SEED"))
		host, _ := os.Hostname()
		t.Attr("figure", "host: ["+host+"]")
	})
}

func TestProveAnswerNever(t *testing.T) { t.Error("is another test") }

func TestProveNothing(t *testing.T) { t.Skip("nothing to prove here") }
`
)

// newBench makes one. The test is parallel to others.
func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	dir := must.Get(filepath.EvalSymlinks(t.TempDir()))(t)
	b := &bench{T: t, proof: Proof{
		Name: "answer", Claim: "There is one answer.", Test: "TestProveAnswer", Package: ".", Timeout: time.Minute,
		Code: []string{"*.go", "go.mod"}, Tests: []string{"prove_test.go"},
	}}
	b.runner = Runner{Root: dir, Seed: 7, Consul: "Consul v1.2.3", Log: &b.log}
	b.git("init", "-q")
	b.commit("go.mod", "module sample.test\n\ngo 1.26\n")
	b.commit("sample.go", sampleCode)
	b.commit("prove_test.go", sampleProof)
	return b
}

func (b *bench) git(args ...string) string {
	b.Helper()
	config := []string{"-c", "user.name=test", "-c", "user.email=test@sample.test", "-c", "commit.gpgsign=false"}
	return must.Get(repository(b.runner.Root).git(b.Context(), append(config, args...)...))(b)
}

func (b *bench) write(name, content string) {
	b.Helper()
	must.Do(b, os.WriteFile(filepath.Join(b.runner.Root, name), []byte(content), 0o600))
}

// commit writes a file, commits all changes, and returns the commit.
func (b *bench) commit(name, content string) string {
	b.Helper()
	b.write(name, content)
	b.git("add", "-A")
	b.git("commit", "-q", "-m", "change "+name)
	return b.git("rev-parse", "HEAD")
}

// run runs the proof and returns its result, if there is one.
func (b *bench) run() (*Result, error) {
	b.Helper()
	ranErr := b.runner.Run(b.Context(), &b.proof)
	result, err := read(b.runner.Root, b.proof.Name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return result, ranErr
}

// expectProblem compares what is wrong with the proof with a text that it contains; none is an empty one.
func (b *bench) expectProblem(want string) {
	b.Helper()
	problem := must.Get(Problem(b.Context(), b.runner.Root, &b.proof))(b)
	if !strings.Contains(problem, want) || want == "" && problem != "" {
		b.Errorf("the problem is %q; want %q", problem, want)
	}
}

// A proof that passes has a result with all that the test recorded and nothing of the machine. It holds until code or
// test change, and other files and tests do not count.
func TestRun(t *testing.T) {
	b := newBench(t)
	b.expectProblem("was never run")
	commit := b.git("rev-parse", "HEAD")
	result := must.Get(b.run())(t)
	host := must.Get(os.Hostname())(t)
	if host != "localhost" { // Which is that of no machine in particular.
		host = "HOST"
	}
	want := &Result{
		Proof: "answer", Claim: "There is one answer.", Result: "pass", Commit: commit, Seed: 7, Consul: "Consul v1.2.3",
		Tests: []*Test{
			{Name: "TestProveAnswer", Result: "pass", Figures: []string{"answers: 1"}},
			{
				Name: "TestProveAnswer/again", Result: "pass",
				Figures: []string{"folder: ROOT/x", "seed: 7", "host: [" + host + "]"},
			},
		},
	}
	ignored := cmp.Options{
		cmpopts.IgnoreFields(Result{}, "Date", "Duration", "Go"), cmpopts.IgnoreFields(Test{}, "Duration"),
	}
	if diff := cmp.Diff(want, result, ignored); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	age := time.Since(result.Date)
	if age < 0 || age > time.Hour || result.Duration == "" || !strings.HasPrefix(result.Go, "go1.") {
		t.Errorf("date %s, duration %q, Go %q", result.Date, result.Duration, result.Go)
	}
	if !strings.Contains(b.log.String(), "said by the test") {
		t.Errorf("the log is\n%s\nwant what the test says", &b.log)
	}
	b.expectProblem("")

	b.git("add", "-A")
	b.git("commit", "-q", "-m", "the result")
	b.commit("README.md", "hello")
	b.commit("other_test.go", "package sample\n")
	b.expectProblem("")
	changed := b.commit("sample.go", sampleCode+"\n// More.\n")
	b.expectProblem("was run at commit " + commit[:12] + "; commit " + changed[:7])

	b.runner.Seed = 0
	result = must.Get(b.run())(t) // The result of before is no change that matters.
	b.expectProblem("")
	if result.Seed == 0 || result.Seed == 7 {
		t.Errorf("seed %d; want one of its own", result.Seed)
	}
	b.commit("prove_test.go", sampleProof+"\n// Stricter.\n")
	b.expectProblem("has changed what it is about")
}

// A proof that fails says so, and holds for no code. A test that was skipped proves nothing.
func TestRun_Fails(t *testing.T) {
	b := newBench(t)
	b.commit("sample.go", strings.Replace(sampleCode, "42", "41", 1))
	for test, want := range map[string][]string{"TestProveAnswer": {"fail", "fail"}, "TestProveNothing": {"skip"}} {
		b.proof.Test = test
		result, err := b.run()
		if !errors.Is(err, ErrFailed) || result == nil || result.Result != "fail" {
			t.Fatalf("error %v, result %+v; want that it failed", err, result)
		}
		var got []string
		for _, test := range result.Tests {
			got = append(got, test.Result)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s and its subtests ended as %q; want %q", test, got, want)
		}
		b.expectProblem("failed on " + time.Now().UTC().Format("2006-"))
	}
}

// There is no result for anything but the code of a commit: code that is not committed, that does not compile, or
// that is changed meanwhile, and a test that is not there.
func TestRun_WithoutResult(t *testing.T) {
	b := newBench(t)
	expect := func(want string) {
		t.Helper()
		result, err := b.run()
		if result != nil || err == nil || errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, result %+v; want no result, and: %s", err, result, want)
		}
	}
	b.write("sample.go", "package sample\n")
	expect("there are changes that are not committed, and a result names the commit that it is about:\n M sample.go")
	b.commit("sample.go", "package sample\n") // Does not compile.
	expect("TestProveAnswer did not run")
	b.commit("sample.go", sampleCode)
	const change = `os.WriteFile("new.go", []byte("package sample\n"), 0o600)`
	b.commit("prove_test.go", strings.Replace(sampleProof, `t.Log("said by the test")`, change, 1))
	expect("the code was changed while the proof ran, so there is no result")
	must.Do(t, os.Remove(filepath.Join(b.runner.Root, "new.go")))
	b.proof.Test = "TestProveMissing"
	expect("TestProveMissing did not run")
}

// A result of a commit that is not there, as after a rebase, does not count; nor does one of another branch.
func TestProblem_OtherHistory(t *testing.T) {
	b := newBench(t)
	first := b.git("rev-parse", "HEAD~1")
	must.Do(t, (&Result{Proof: "answer", Result: passed, Commit: strings.Repeat("0123456789", 4)}).write(b.runner.Root))
	b.expectProblem("was run at commit 012345678901, which this repository does not have")
	b.git("checkout", "-q", "-b", "other", first)
	other := b.commit("prove_test.go", sampleProof)
	b.git("checkout", "-q", "-")
	must.Do(t, (&Result{Proof: "answer", Result: passed, Commit: other}).write(b.runner.Root))
	if other != b.git("rev-parse", "HEAD") { // The same content at the same second is the same commit.
		b.expectProblem("has changed what it is about")
	}
}

// The result in a document is as old as the last change of what is measured in it.
func TestProblem_Document(t *testing.T) {
	b := newBench(t)
	b.proof.Document = &Document{Path: "seen.md", Target: "see", Written: `^Seen [0-9]+ times`, Blank: `(?m)^Seen  times`}
	b.commit("seen.md", "# What was seen\n\nNothing yet.\n")
	b.expectProblem("has no result in seen.md")
	b.commit("seen.md", "# What was seen\n\nSeen 7 times.\n")
	b.expectProblem("")
	changed := b.commit("sample.go", sampleCode+"\n// More.\n")
	b.commit("seen.md", "# What we saw\n\nSeen 7 times.\n")
	b.expectProblem("commit " + changed[:7])
	b.commit("seen.md", "# What we saw\n\nSeen 8 times.\nSeen  times.\n")
	b.expectProblem("has rows without a result in seen.md: 1")
	b.commit("seen.md", "# What we saw\n\nSeen 8 times.\n")
	b.expectProblem("")

	never := b.proof
	never.Document, never.Name = nil, "never"
	for want, proofs := range map[string][]Proof{
		"The proof never was never run. To run it: make prove PROOF=never\n": {b.proof, never},
		"All 1 proofs are as new as the code they are about.\n":              {b.proof},
	} {
		var out strings.Builder
		n := must.Get(PrintProblems(t.Context(), b.runner.Root, proofs, &out))(t)
		if n != len(proofs)-1 || out.String() != want {
			t.Errorf("%d problems, and it prints %q; want %q", n, &out, want)
		}
	}
}
