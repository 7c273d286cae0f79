// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
)

// width is how many columns the output may take.
const width = 100

// output is where the demo prints to.
type output struct {
	w io.Writer
	// failed is called when nothing can be written anymore.
	failed func()
}

func (o *output) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(o.w, format, args...); err != nil {
		o.failed()
	}
}

// step is a part of the start.
type step struct {
	what string
	do   func() error
}

// steps prints what is being done, does it, and prints how long it took, step by step until one fails.
func (o *output) steps(steps []step) error {
	const column = width - len("  999.9 s")
	for _, s := range steps {
		o.printf("%-*s", column, s.what+" ...")
		start := time.Now()
		if err := s.do(); err != nil {
			o.printf("\n")
			return err
		}
		o.printf("%7.1f s\n", time.Since(start).Seconds())
	}
	return nil
}

// wrap breaks a text at spaces to fit the output, with the indent in front of every line but the first.
func wrap(text string, indent int) string { return terminal.Wrap(text, indent, width) }

// list joins words as a sentence does: "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
