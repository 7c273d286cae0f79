// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package browsertest

import "os"

// violations runs axe-core's rules for WCAG 2.2, levels A and AA, and returns what they find and how many passed.
const violations = `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).then(r => ({
	passed: r.passes.length,
	found: r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target + ": " + n.failureSummary)),
}))`

// ExpectAccessible checks that the page meets WCAG 2.2 on levels A and AA, as far as a program can tell.
func (p *Page) ExpectAccessible() {
	p.tb.Helper()
	path := os.Getenv(checkerVar)
	if path == "" {
		p.tb.Fatalf("%s is not set; run the tests with 'make test-browser', which installs axe-core", checkerVar)
	}
	checker, err := os.ReadFile(path)
	if err != nil {
		p.tb.Fatal(err)
	}
	Eval[bool](p, string(checker)+"; true")
	result := Eval[struct {
		Passed int
		Found  []string
	}](p, violations)
	for _, found := range result.Found {
		p.tb.Errorf("not accessible: %s", found)
	}
	if result.Passed < 10 {
		p.tb.Errorf("%d rules of accessibility passed; want 10 or more", result.Passed)
	}
}
