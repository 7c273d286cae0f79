// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	fits := strings.Repeat("x", width-10)
	tests := []struct {
		name, text, want string
		indent           int
	}{
		{name: "empty"},
		{name: "short", text: "a b", want: "a b", indent: 9},
		{name: "just fits", text: fits + " b", want: fits + " b", indent: 8},
		{name: "just does not fit", text: fits + " b", want: fits + "\n         b", indent: 9},
		{name: "a word that is too long", text: "a " + fits + "xxxx b", want: "a\n         " + fits + "xxxx\n         b", indent: 9},
		{name: "characters, not bytes", text: strings.Repeat("ü", width-2) + " b", want: strings.Repeat("ü", width-2) + " b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := wrap(test.text, test.indent); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		words []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, "a"},
		{[]string{"a", "b"}, "a and b"},
		{[]string{"a", "b", "c"}, "a, b and c"},
	} {
		if got := list(test.words); got != test.want {
			t.Errorf("list(%q) is %q, want %q", test.words, got, test.want)
		}
	}
}

// brokenWriter is a pipe whose reader is gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputTellsThatNobodyReads(t *testing.T) {
	t.Parallel()
	told := false
	out := &output{w: brokenWriter{}, failed: func() { told = true }}
	out.printf("x")
	if !told {
		t.Error("failed was not called")
	}
}
