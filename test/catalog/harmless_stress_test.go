// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A server survives scrapes while external nodes at its address change all the time and others read them. This is a
// sample of TestProveCatalogStress: a server that writes into the nodes it reads dies within some minutes.
func TestCatalogStress(t *testing.T) {
	t.Parallel()
	stressCatalog(t, 20*time.Second)
}

// stressCatalog runs it for so long.
func stressCatalog(t *testing.T, long time.Duration) {
	t.Helper()
	const nodes, readers, scrapers = 1000, 8, 2
	c := consultest.Start(t, consultest.Options{Servers: 1})
	server := c.Servers[0]
	update := func(round int) error {
		var ops api.TxnOps
		for i := range nodes {
			ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{
				Node: fmt.Sprintf("ext-%04d", i), Address: server.Addr,
				Meta: map[string]string{"external-node": "true", "round": fmt.Sprint(round)},
			}}})
		}
		for part := range slices.Chunk(ops, 100) {
			ok, response, _, err := server.Client().Txn().Txn(part, new(api.QueryOptions).WithContext(t.Context()))
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("the transaction was refused: %s", response.Errors[0].What)
			}
		}
		return nil
	}
	must.Do(t, update(0))
	must.Do(t, c.WaitSynced(t.Context()))
	had := versioned(t, server)
	e := harness.StartBinary(t, harness.BuildExporter(t), nil, "--consul.server="+server.URL())
	var updates, reads, scrapes atomic.Int64
	// Fewer updates, reads or scrapes are no stress; a busy machine takes longer for them.
	least := int64(long / (2 * time.Second))
	fewest := func() int64 { return min(updates.Load(), reads.Load(), scrapes.Load()) }
	start := time.Now()
	ended := func() bool {
		took := time.Since(start)
		return took > 10*long || (took > long && fewest() >= least)
	}
	var all sync.WaitGroup
	again := func(count *atomic.Int64, do func(n int) error) {
		all.Go(func() {
			for n := 1; !ended(); n++ {
				if err := do(n); err != nil {
					t.Errorf("after %d times: %v", count.Load(), err)
					return
				}
				count.Add(1)
			}
		})
	}
	again(&updates, update)
	for range readers {
		again(&reads, func(int) error {
			resp, err := http.Get(server.URL() + "/v1/catalog/nodes?stale")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
	}
	for range scrapers {
		again(&scrapes, func(int) error {
			_, body, err := e.Get(t.Context(), "/metrics", 10*time.Second)
			if err == nil && !strings.Contains(body, fmt.Sprintf("\nconsul_catalog_nodes %d\n", nodes+1)) {
				err = fmt.Errorf("a scrape does not have all nodes:\n%s", body)
			}
			return err
		})
	}
	all.Wait()
	t.Logf("in %s: %d updates of all nodes, %d reads, %d scrapes",
		time.Since(start).Round(time.Second), updates.Load(), reads.Load(), scrapes.Load())
	if !server.Running() {
		t.Fatal("the server is dead")
	}
	if n := versioned(t, server); n != had {
		t.Errorf("%d nodes have the version of Consul; want %d as before", n, had)
	}
	if fewest() < least {
		t.Errorf("want at least %d updates, reads and scrapes, or it is no stress", least)
	}
	if n := dumps(e.Scrape(t)); n < float64(scrapes.Load())/2 {
		t.Errorf("the catalog was read at once %v times; want about one for each scrape that was not shared", n)
	}
	expectDumpWrites(t, server)
}
