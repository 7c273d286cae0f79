// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package panics keeps a panic in one goroutine from ending the program.
package panics

import (
	"fmt"
	"runtime/debug"
)

// Try calls f and returns its error, or its panic as an error with the stack.
func Try(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
