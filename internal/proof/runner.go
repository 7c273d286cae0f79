// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Runner runs proofs and writes their results.
type Runner struct {
	// Root is the root of the repository.
	Root string
	// Seed is that of all proofs; 0 means that each gets its own.
	Seed uint64
	// Consul is the version of Consul, for the results.
	Consul string
	// Log gets what the tests print.
	Log io.Writer
}

// ErrFailed means that a proof was run and failed, which is in its result.
var ErrFailed = errors.New("the proof failed")

// Run runs a proof and writes its result. The result is written, too, if it is ErrFailed. Nothing is if the commit is
// not the code that is run.
func (r *Runner) Run(ctx context.Context, p *Proof) error {
	commit, err := repository(r.Root).committed(ctx)
	if err != nil {
		return err
	}
	seed := cmp.Or(r.Seed, 1+rand.Uint64N(1<<32))
	began := time.Now()
	tests, err := r.test(ctx, p, seed)
	if err != nil {
		return err
	}
	if after, err := repository(r.Root).committed(ctx); err != nil || after != commit {
		return errors.Join(errors.New("the code was changed while the proof ran, so there is no result"), err)
	}
	result := &Result{
		Proof: p.Name, Claim: p.Claim, Result: resultOf(tests), Tests: tests, Commit: commit, Seed: seed,
		Date: began.UTC().Truncate(time.Second), Duration: rounded(time.Since(began)),
		Consul: r.Consul, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
	}
	clean := machineNames(r.Root)
	for _, t := range tests {
		t.Name = clean(t.Name)
		for i := range t.Figures {
			t.Figures[i] = clean(t.Figures[i])
		}
	}
	if err := result.write(r.Root); err != nil {
		return err
	}
	if result.Result != passed {
		return ErrFailed
	}
	return nil
}

func (r *Runner) test(ctx context.Context, p *Proof, seed uint64) ([]*Test, error) {
	tags := "prove"
	if p.Root {
		tags += ",e2e"
	}
	args := []string{
		"test", "-json", "-tags", tags, "-count", "1", "-timeout", p.Timeout.String(), "-run", "^" + p.Test + "$",
	}
	if p.Root {
		args = append(args, "-exec", filepath.Join(r.Root, "tools", "e2e.sh"))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+p.Package)...)
	cmd.Dir = r.Root
	cmd.Env = append(os.Environ(), seedVariable+"="+strconv.FormatUint(seed, 10))
	cmd.Stderr = r.Log
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tests, err := collect(events, r.Log)
	// If tests fail the exit code is 1, and they are among the results.
	if waited := cmd.Wait(); err == nil && (ctx.Err() != nil || len(tests) == 0) {
		err = errors.Join(fmt.Errorf("%s did not run, or not to its end", p.Test), waited, context.Cause(ctx))
	}
	return tests, err
}

// resultOf is the result of a proof with these tests: one that was skipped proves nothing.
func resultOf(tests []*Test) string {
	if slices.ContainsFunc(tests, func(t *Test) bool { return t.Result != passed }) {
		return failed
	}
	return passed
}

// machineNames returns a function that takes the names of this machine and of its folders out of a text.
func machineNames(root string) func(string) string {
	pairs := []string{root, "ROOT"} // First, because it can be in one of the others.
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		pairs = append(pairs, home, "HOME")
	}
	replacer := strings.NewReplacer(append(pairs, strings.TrimSuffix(os.TempDir(), "/"), "TMP")...)
	host := regexp.MustCompile(`$^`) // Matches nothing.
	if name, err := os.Hostname(); err == nil && name != "" && name != "localhost" {
		host = regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
	}
	return func(s string) string { return host.ReplaceAllString(replacer.Replace(s), "HOST") }
}
