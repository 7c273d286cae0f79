// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package testenv keeps the environment of the person who runs the tests out of them: it may configure Consul or the exporter.
package testenv

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Clean is the environment without what configures Consul or the exporter.
func Clean() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONSUL_") })
}

// Clear takes out what configures Consul or the exporter, for the length of the test.
func Clear(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "CONSUL_") {
			t.Setenv(name, value) // Restores it afterwards.
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
