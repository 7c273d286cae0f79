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

import (
	"slices"
	"time"
)

// Proof is one of the long proofs.
type Proof struct {
	// Name is the NAME of docs/proof/NAME.json and of `make prove PROOF=NAME`: lowercase letters, digits and hyphens.
	Name string
	// Claim says in one sentence what it proves.
	Claim string
	// Test is the test, whose name begins with TestProve and which has the build tag prove. It is empty if the proof has
	// a Document.
	Test string
	// Package is the folder of the test, such as "." or "web".
	Package string
	// Root is whether the test needs root: it runs in its own network namespace, as those of `make e2e` do.
	Root bool
	// Timeout is how long the test may take.
	Timeout time.Duration
	// Code are the pathspecs of Git for the code that it is about. Tests in there do not count. There is at least one.
	Code []string
	// Tests are the pathspecs of the test itself and its helpers: a result is older than a change to them, too. There is
	// at least one.
	Tests []string
	// Samples are tests of `make test` that do a part of the same in seconds.
	Samples []string
	// Document is where the result is if `make prove` does not write it.
	Document *Document
}

// Document is a document that has the results of a proof, and that a target of the Makefile writes.
type Document struct {
	Path, Target string
	// Written is a regular expression of POSIX, for Git, that matches lines which change with each run: the last commit
	// that changed one of them is the one with the results.
	Written string
	// Blank is a regular expression for a row whose result is missing.
	Blank string
}

// program are the pathspecs of the exporter, and of the Consul that it is tested with.
var program = []string{
	"main.go", "internal/cli", "internal/fact", "internal/panics", "catalog", "cluster", "collector", "config", "consul",
	"inputs", "memory", "probe", "status", "telemetry", "verdict", "web", "go.mod", "tools/consul/go.mod",
}

// responderProgram are those for the responder.
var responderProgram = []string{
	"responder", "internal/cli/responder.go", "catalog", "cluster", "consul", "inputs", "probe", "telemetry",
	"verdict", "internal/ownfile", "go.mod", "tools/consul/go.mod",
}

// table has all proofs, in alphabetical order.
var table = []Proof{
	{
		Name: "alerts-proven",
		Claim: "Each fault leads to its alerts and to no others, each of them is sent once and resolved once, " +
			"with Prometheus and Alertmanager.",
		Code:    append(slices.Clone(program), "alerts"),
		Tests:   []string{":(glob)test/stack/alerting*_test.go"},
		Samples: []string{"TestPromtool_Rules", "TestOutages"},
		Document: &Document{
			Path: "docs/alerts-proven.md", Target: "alerts-proven", Written: `\| [0-9]+ \|( [0-9dhms]+ \|)?$`,
			Blank: `(?m)\| (pager|chat|mail) \| \|$|\| \| [0-9]+m \|$`,
		},
	},
	{
		Name: "catalog-stress",
		Claim: "A server survives minutes of scrapes while a thousand nodes at its address change all the time, " +
			"and no node's meta is written to.",
		Test:    "TestProveCatalogStress",
		Package: "test/catalog",
		Timeout: 20 * time.Minute,
		Code:    program,
		Tests:   []string{":(glob)test/catalog/harmless*_test.go", "internal/consultest"},
		Samples: []string{"TestCatalogStress", "TestCatalogUnchanged"},
	},
	{
		Name: "crowd",
		Claim: "While clients pipeline, read slowly and ask for 50 ms, another client's scrapes of 25,000 instances " +
			"are complete and on time.",
		Test:    "TestProveCrowd",
		Package: "test/catalog",
		Timeout: 20 * time.Minute,
		Code:    program,
		Tests:   []string{":(glob)test/catalog/crowd*_test.go", "internal/consultest"},
		Samples: []string{"TestCrowd"},
	},
	{
		Name: "leaves-no-trace",
		Claim: "In no configuration of Consul do hundreds of scrapes and dozens of checks leave a warning in its logs, " +
			"a member, or a connection.",
		Test:    "TestProveLeavesNoTrace",
		Package: "test/outage",
		Timeout: 3 * time.Hour,
		Code:    append(slices.Clone(program), "status"), // The command check asks what it needs.
		Tests: []string{
			":(glob)test/outage/leavesnotrace*_test.go", "test/outage/testdata/leavesnotrace.txt", "internal/consultest",
		},
		Samples: []string{"TestLeavesNoTrace"},
	},
	{
		Name: "reliability",
		Claim: "While a cluster breaks and recovers for half an hour, each scrape is answered in time, shows the fault, " +
			"and the exporter does not grow.",
		Code:    program,
		Tests:   []string{":(glob)test/netns/soak*_test.go"},
		Samples: []string{"TestOutages"},
		Document: &Document{
			Path: "docs/reliability.md", Target: "reliability",
			Written: `^In .* the cluster was broken and mended [0-9]+ times`,
		},
	},
	{
		Name: "responder-chaos",
		Claim: "In half an hour of failing servers, networks, disk, clock, Alertmanagers and responder, no action lowers a " +
			"proven quorum, is made twice or lacks its record, and each refusal is explained.",
		Test:    "TestProveResponderChaos",
		Package: "test/netns",
		Root:    true,
		Timeout: time.Hour,
		Code:    responderProgram,
		Tests:   []string{":(glob)test/netns/chaos*_test.go", "test/harness/responder.go", "internal/consultest"},
		Samples: []string{"TestResponder_KilledAnytime", "TestResponder_RemoveDeadPeer"},
	},
	{
		Name: "responder-killed",
		Claim: "However often and whenever the responder is killed, an alert never leads to a second action, " +
			"and its history can be read.",
		Test:    "TestProveResponderKilled",
		Package: "test/responder",
		Timeout: 20 * time.Minute,
		Code:    responderProgram,
		Tests:   []string{"test/responder/prove_test.go", "test/responder/safety_test.go"},
		Samples: []string{"TestResponder_KilledAnytime"},
	},
	{
		Name: "safe-to-stop",
		Claim: "In hundreds of states of clusters of three and five servers, a server that can be stopped as " +
			"`check --safe-to-stop` answers is stopped, and a write succeeds within 30 s.",
		Test:    "TestProveSafeToStop",
		Package: "test/outage",
		Timeout: 4 * time.Hour,
		Code: []string{
			"internal/cli/check.go", "internal/cli/reserve.go", "reservation", "catalog", "cluster", "consul", "inputs",
			"probe", "telemetry", "verdict", "go.mod", "tools/consul/go.mod",
		},
		Tests:   []string{":(glob)test/outage/safetostop*_test.go", "internal/consultest"},
		Samples: []string{"TestSafeToStop_States", "TestSafeToStop_Reserve"},
	},
}

// All returns all proofs, in alphabetical order.
func All() []Proof { return slices.Clone(table) }

// Find returns the proof of this name.
func Find(name string) (Proof, bool) {
	i := slices.IndexFunc(table, func(p Proof) bool { return p.Name == name })
	if i < 0 {
		return Proof{}, false
	}
	return table[i], true
}
