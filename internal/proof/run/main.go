// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command run runs the long proofs, or says which of their results do not hold any more:
//
//	go run ./internal/proof/run [-seed N] [NAME...]   run these proofs, or all of them, and write docs/proof/NAME.json
//	go run ./internal/proof/run -state                print which proofs do not hold for the code as it is committed
//	go run ./internal/proof/run -require              the same, and fail if there is one
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/zervigo/consul_cluster_exporter/internal/proof"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

func main() {
	state := flag.Bool("state", false, "print which proofs do not hold")
	require := flag.Bool("require", false, "print which proofs do not hold, and fail if there is one")
	seed := flag.Uint64("seed", 0, "seed of the proofs; 0 means another one for each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *state, *require, *seed, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, state, require bool, seed uint64, names []string) error {
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	if state || require {
		n, err := proof.PrintProblems(ctx, root, proof.All(), os.Stdout)
		if err == nil && require && n > 0 {
			err = fmt.Errorf("%d proofs do not hold; a release needs all of them", n)
		}
		return err
	}
	proofs, err := choose(names)
	if err != nil {
		return err
	}
	consul, err := consulVersion(ctx)
	if err != nil {
		return err
	}
	return runAll(ctx, &proof.Runner{Root: root, Seed: seed, Consul: consul, Log: os.Stdout}, proofs)
}

// choose returns the proofs of these names, or all that have a test if there are none.
func choose(names []string) (chosen []proof.Proof, err error) {
	if len(names) == 0 {
		return slices.DeleteFunc(proof.All(), func(p proof.Proof) bool { return p.Document != nil }), nil
	}
	for _, name := range names {
		p, ok := proof.Find(name)
		if !ok {
			return nil, fmt.Errorf("there is no proof %q; the table is in internal/proof/table.go", name)
		}
		if p.Document != nil {
			return nil, fmt.Errorf("%s is written by: make %s", p.Document.Path, p.Document.Target)
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// runAll runs all of them, also after one has failed.
func runAll(ctx context.Context, runner *proof.Runner, proofs []proof.Proof) error {
	var errs []error
	for i := range proofs {
		p := &proofs[i]
		fmt.Printf("== %s: %s\n", p.Name, p.Claim)
		err := runner.Run(ctx, p)
		if err != nil {
			err = fmt.Errorf("%s: %w", p.Name, err)
			fmt.Println("==", err)
			errs = append(errs, err)
			if !errors.Is(err, proof.ErrFailed) {
				break // The others would not run either.
			}
			continue
		}
		fmt.Printf("== %s passed; the result is %s/%s.json\n", p.Name, proof.Folder, p.Name)
	}
	return errors.Join(errs...)
}

// consulVersion returns what the Consul of the tests says about itself, such as "Consul v1.22.5".
func consulVersion(ctx context.Context) (string, error) {
	path, err := toolbox.Path("consul")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}
