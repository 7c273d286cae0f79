// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
)

// watch looks again and again until ctx is done, and redraws what was found. It returns the exit code of the last look.
func watch(ctx context.Context, p *terminal.Printer, interval time.Duration, look func() found) (int, error) {
	defer p.EndRedraw()
	code := ExitUnknown
	for p.Err() == nil {
		began := time.Now()
		what := look()
		if ctx.Err() != nil {
			break // Half of a look says nothing.
		}
		code = what.code
		p.Redraw(func() {
			p.Line(styled(fmt.Sprintf("%s, every %s, Ctrl-C to quit", began.Format(time.TimeOnly), interval), terminal.Dim))
			what.text(report{p})
		})
		select {
		case <-time.After(interval):
		case <-ctx.Done():
		}
	}
	return code, p.Err()
}
