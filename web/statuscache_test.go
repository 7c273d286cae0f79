// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zervigo/consul_cluster_exporter/status"
)

// countingCache counts the snapshots that it takes, each of which takes that long.
func countingCache(takes time.Duration) (cache *statusCache, taken *atomic.Int64) {
	taken = new(atomic.Int64)
	return newStatusCache(func(ctx context.Context) statusDocument {
		taken.Add(1)
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		return statusDocument{View: status.View{Seconds: takes.Seconds()}}
	}), taken
}

// look looks at the page after a time, and returns how long that took.
func look(t *testing.T, cache *statusCache, after time.Duration) (waited time.Duration) {
	t.Helper()
	<-time.After(after)
	start := time.Now()
	if _, err := cache.get(t.Context()); err != nil {
		t.Error(err)
	}
	return time.Since(start)
}

// However many look at the page, there is one snapshot every five seconds.
func TestStatusCache_ManyViewers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, taken := countingCache(100 * time.Millisecond)
		defer cache.close()
		var viewers sync.WaitGroup
		for i := range 200 {
			viewers.Go(func() {
				<-time.After(time.Duration(i) * 7 * time.Millisecond)
				for range 10 {
					look(t, cache, 2*time.Second)
				}
			})
		}
		start := time.Now()
		viewers.Wait()
		seconds := int64(time.Since(start) / time.Second)
		if n := taken.Load(); n > seconds/5+1 || n < seconds/5-1 {
			t.Errorf("%d snapshots in %d s; want one every 5 s", n, seconds)
		}
	})
}

// A snapshot that takes longer than five seconds is waited for, and no second one begins meanwhile.
func TestStatusCache_Slow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, taken := countingCache(8 * time.Second)
		defer cache.close()
		var viewers sync.WaitGroup
		for i := range 7 {
			viewers.Go(func() {
				at := time.Duration(i) * time.Second
				if waited := look(t, cache, at); waited != 8*time.Second-at {
					t.Errorf("viewer %d waited %s", i, waited)
				}
			})
		}
		viewers.Wait()
		if n := taken.Load(); n != 1 {
			t.Errorf("%d snapshots; want 1", n)
		}
	})
}

// One who leaves does not end the snapshot for the others, and closing ends it for all.
func TestStatusCache_Ends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, taken := countingCache(time.Hour)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := cache.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v; want that the time is over", err)
		}
		if waited := look(t, cache, 0); waited != statusTimeout-time.Second {
			t.Errorf("waited %s; want the rest of %s", waited, statusTimeout)
		}
		time.AfterFunc(time.Second, cache.close)
		if waited := look(t, cache, 0); waited != time.Second {
			t.Errorf("waited %s; want 1 s", waited)
		}
		if n := taken.Load(); n != 2 {
			t.Errorf("%d snapshots; want 2", n)
		}
	})
}
