// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Folder is where the results are, in the repository.
const Folder = "docs/proof"

// How a proof or one of its tests ended, in the words of go test.
const (
	passed  = "pass"
	failed  = "fail"
	skipped = "skip" // Nothing is proven by it.
)

// Result is the result of a proof. It is a file, for people to read, and has nothing about the machine that it was
// made on.
type Result struct {
	Proof string `json:"proof"`
	Claim string `json:"claim"`
	// Result is "pass", or "fail".
	Result string `json:"result"`
	// Date is when the run began, in UTC.
	Date   time.Time `json:"date"`
	Commit string    `json:"commit"`
	Seed   uint64    `json:"seed"`
	// Duration is that of the run, such as "4m13s".
	Duration string `json:"duration"`
	Consul   string `json:"consul"`
	Go       string `json:"go"`
	// Tests are the test and its subtests, in the order in which they began.
	Tests []*Test `json:"tests"`
}

// Test is the result of a test or a subtest.
type Test struct {
	Name     string `json:"name"`
	Result   string `json:"result"`
	Duration string `json:"duration"`
	// Figures are what the test recorded, such as "scrapes: 200".
	Figures []string `json:"figures,omitempty"`
}

func resultFile(root, name string) string {
	return filepath.Join(root, filepath.FromSlash(Folder), name+".json")
}

func read(root, name string) (*Result, error) {
	content, err := os.ReadFile(resultFile(root, name))
	if err != nil {
		return nil, err
	}
	r := new(Result)
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		return nil, fmt.Errorf("%s/%s.json: %w", Folder, name, err)
	}
	return r, nil
}

func (r *Result) write(root string) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return err
	}
	path := resultFile(root, r.Proof)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
