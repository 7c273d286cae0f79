// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
)

// RunProgram runs the program in this process until it ends by itself.
func RunProgram(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	code = cli.Run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}
