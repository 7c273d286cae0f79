// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
)

// Problem returns why a proof does not hold for the code as it is committed: it never ran, it failed, or it is older
// than the code it is about. It is empty if the proof holds.
func Problem(ctx context.Context, root string, p *Proof) (string, error) {
	repo := repository(root)
	commit, problem, err := repo.proven(ctx, p)
	if err != nil || problem != "" {
		return problem, err
	}
	if problem, err := repo.blank(ctx, p.Document); err != nil || problem != "" {
		return problem, err
	}
	// It may be missing in a shallow clone, or after a rebase.
	if _, err := repo.git(ctx, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return fmt.Sprintf("was run at commit %.12s, which this repository does not have", commit), nil
	}
	for _, pathspecs := range [][]string{append([]string{":(exclude)*_test.go"}, p.Code...), p.Tests} {
		args := append([]string{"log", "-1", "--format=%h of %cs", commit + "..HEAD", "--"}, pathspecs...)
		changed, err := repo.git(ctx, args...)
		if err != nil {
			return "", err
		}
		if changed != "" {
			return fmt.Sprintf("was run at commit %.12s; commit %s has changed what it is about", commit, changed), nil
		}
	}
	return "", nil
}

// blank returns the problem of a document in which a result is missing.
func (r repository) blank(ctx context.Context, d *Document) (problem string, err error) {
	if d == nil || d.Blank == "" {
		return "", nil
	}
	text, err := r.git(ctx, "show", "HEAD:"+d.Path)
	if n := len(regexp.MustCompile(d.Blank).FindAllString(text, -1)); err == nil && n > 0 {
		problem = fmt.Sprintf("has rows without a result in %s: %d", d.Path, n)
	}
	return problem, err
}

// proven returns the commit at which a proof passed, or the problem with it.
func (r repository) proven(ctx context.Context, p *Proof) (commit, problem string, err error) {
	if d := p.Document; d != nil {
		commit, err = r.git(ctx, "log", "-1", "--format=%H", "-G", d.Written, "--", d.Path)
		if err == nil && commit == "" {
			problem = "has no result in " + d.Path
		}
		return commit, problem, err
	}
	result, err := read(string(r), p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "was never run", nil
	}
	if err != nil {
		return "", "", err
	}
	if result.Result != passed {
		return "", fmt.Sprintf("failed on %s at commit %.12s", result.Date.Format("2006-01-02"), result.Commit), nil
	}
	return result.Commit, "", nil
}

func (p *Proof) command() string {
	if p.Document != nil {
		return "make " + p.Document.Target
	}
	return "make prove PROOF=" + p.Name
}

// PrintProblems prints a line for each proof that does not hold, and returns how many there are.
func PrintProblems(ctx context.Context, root string, proofs []Proof, out io.Writer) (int, error) {
	n := 0
	for i := range proofs {
		p := &proofs[i]
		problem, err := Problem(ctx, root, p)
		if err != nil {
			return n, fmt.Errorf("proof %s: %w", p.Name, err)
		}
		if problem != "" {
			n++
			fmt.Fprintf(out, "The proof %s %s. To run it: %s\n", p.Name, problem, p.command())
		}
	}
	if n == 0 {
		fmt.Fprintf(out, "All %d proofs are as new as the code they are about.\n", len(proofs))
	}
	return n, nil
}
