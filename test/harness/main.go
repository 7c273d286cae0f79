// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package harness starts the real program for the tests in the folders next to it, and has what they share.
//
// Each of these packages has
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
// so that its test binary can be the exporter, too.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// AsExporter makes the test binary be the exporter, so that the tests run the real program in a process of its own.
const AsExporter = "TEST_AS_EXPORTER"

// Main runs the tests of a package in the top folder of the project, so that a path is the same in a test and in the
// project, and without the variables of the person who runs them that configure Consul or the exporter. If a test has
// started the test binary as the exporter, it is the exporter instead.
func Main(m *testing.M) {
	if os.Getenv(AsExporter) != "" {
		os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := errors.Join(enterTopFolder(), clearEnvironment()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enterTopFolder changes to the top folder, and makes os.Args[0], which the tests start, a path that does not depend
// on the folder.
func enterTopFolder() error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	os.Args[0] = binary
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	return os.Chdir(root)
}

// clearEnvironment takes out what configures Consul or the exporter. What names the tools stays.
func clearEnvironment() error {
	var errs []error
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "CONSUL_") && !strings.HasPrefix(name, "CONSUL_CLUSTER_EXPORTER_TOOL_") {
			errs = append(errs, os.Unsetenv(name))
		}
	}
	return errors.Join(errs...)
}
