// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package proof knows the project's long proofs: tests that need many minutes, such as stress tests and alerts in
// real time, and therefore do not run for each change.
//
// A proof is a test with the build tag prove and a row in the table of this package (table.go), which says what it
// proves and about which code. `make prove` runs it and writes what came of it to docs/proof/NAME.json, with date,
// commit and seed. `make test` prints which results are older than the code they are about, and a release refuses
// those (state.go). What the test reports with Record is in the result.
//
// The program is in the folder run.
package proof
