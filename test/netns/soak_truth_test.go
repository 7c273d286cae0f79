// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package netns_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// minReadShare is how much of the scrapes while a server led have a linearizable read, successful or not. Without it
// expectTruth would have little to hold against the verdicts.
const minReadShare = 0.95

// soakTruth is what the scrapes of a soak prove.
type soakTruth struct {
	// led counts the scrapes in which a server that answered called itself the leader, and read those of them in which
	// the exporter made a linearizable read.
	led, read int
	// contradictions are verdicts that a proof in the same scrape contradicts.
	contradictions []string
}

func truthOf(seen []soakScrape) (truth soakTruth) {
	for _, scrape := range seen {
		if scrape.err != nil {
			continue
		}
		if scrape.samples["consul_cluster_leaders"] >= 1 {
			truth.led++
			if _, ok := scrape.samples["consul_cluster_consistent_read_success"]; ok {
				truth.read++
			}
		}
		for _, found := range scrape.samples.Contradictions() {
			truth.contradictions = append(truth.contradictions, fmt.Sprintf("%s: %s\n%s",
				scrape.start.Format("15:04:05.000"), found, ofCluster(scrape.samples)))
		}
	}
	return truth
}

// ofCluster are the series that verdicts rest on.
func ofCluster(m harness.Samples) string {
	own := make(harness.Samples)
	for series, value := range m {
		if strings.HasPrefix(series, "consul_cluster_") || strings.HasPrefix(series, "consul_server_") ||
			strings.HasPrefix(series, "consul_port_up{port=\"8300\"") || series == "consul_up" {
			own[series] = value
		}
	}
	return own.String()
}

// expectTruth fails for each verdict that a proof in the same scrape contradicts, and if there were few proofs.
func expectTruth(t *testing.T, seen []soakScrape) {
	t.Helper()
	truth := truthOf(seen)
	for _, contradiction := range truth.contradictions {
		t.Error(contradiction)
	}
	if float64(truth.read) < minReadShare*float64(truth.led) || truth.led == 0 {
		t.Errorf("a linearizable read was made in %d of %d scrapes while a server led; want %.0f %%",
			truth.read, truth.led, 100*minReadShare)
	}
}

// text is the document's line about the proofs.
func (truth soakTruth) text() string {
	return fmt.Sprintf("While a server led, %.1f %% of the scrapes had a linearizable read, which proves that the quorum is "+
		"held. No verdict in any scrape contradicted a proof in the same scrape.\n\n",
		100*float64(truth.read)/float64(truth.led))
}
