// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// repository is the root of a checkout.
type repository string

// git runs a command of Git in the repository and returns what it prints, without the newline at its end.
func (r repository) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = string(r)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// committed returns the commit of the checkout. It is an error if there are changes that are not in it, other than
// results of proofs.
func (r repository) committed(ctx context.Context) (string, error) {
	changes, err := r.git(ctx, "status", "--porcelain", "--", ":/", ":(top,exclude)"+Folder)
	if err != nil {
		return "", err
	}
	if changes != "" {
		const problem = "there are changes that are not committed, and a result names the commit that it is about"
		return "", fmt.Errorf("%s:\n%s", problem, changes)
	}
	return r.git(ctx, "rev-parse", "HEAD")
}
