// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// bench is a keeper of exporters that do nothing, for the targets a1, a2 and so on.
type bench struct {
	*keeper
	t      *testing.T
	module *config.ValidModule
	opened []string
	closed []string // Guarded by mu of the keeper.
}

func newBench(t *testing.T, limit int) *bench {
	t.Helper()
	b := &bench{t: t, module: testModule(t)}
	b.keeper = &keeper{max: limit, entries: make(map[keptKey]*kept), open: b.open}
	return b
}

func testModule(t *testing.T) *config.ValidModule {
	t.Helper()
	m := config.DefaultModule()
	for i := range 10 {
		m.Targets = append(m.Targets, fmt.Sprintf("a%d", i))
	}
	valid, problems := m.Validate(nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return valid
}

func (b *bench) open(name string, target config.Target) (*collector.Exporter, func(), error) {
	if target.String() == "a9:8500" {
		return nil, nil, errors.New("broken")
	}
	what := name + " " + target.String()
	b.opened = append(b.opened, what)
	return nil, func() { b.closed = append(b.closed, what) }, nil
}

func (b *bench) get(name, host string) *kept {
	b.t.Helper()
	return must.Get(b.tryGet(name, host))(b.t)
}

func (b *bench) tryGet(name, host string) (*kept, error) {
	b.t.Helper()
	target := must.Get(b.module.Target(host))(b.t)
	return b.acquire(name, b.module, target)
}

func (b *bench) expectClosed(want ...string) {
	b.t.Helper()
	b.mu.Lock() // Held when one is closed.
	got := slices.Sorted(slices.Values(b.closed))
	b.mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("closed differ (-want +got):\n%s", diff)
	}
}

func TestKeeper_Keeps(t *testing.T) {
	t.Parallel()
	b := newBench(t, 10)
	first := b.get("m", "a1")
	if b.get("m", "A1") != first {
		t.Error("two requests for the same target have two exporters at the same time")
	}
	b.release(first)
	b.release(first)
	if b.get("m", "a1:8500") != first {
		t.Error("the exporter is not kept between requests")
	}
	if b.get("m", "a1:8501") == first || b.get("m", "a2") == first || b.get("other", "a1") == first {
		t.Error("another target or module has the same exporter")
	}
	b.expectClosed()
	if _, err := b.tryGet("m", "a9"); err == nil {
		t.Error("an exporter that cannot be made is no error")
	}
	b.dropWhere(func(string, *config.ValidModule) bool { return true })
}

func TestKeeper_Idle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		wait := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		long, often := b.get("m", "a1"), b.get("m", "a2")
		b.release(often)
		b.release(b.get("m", "a3"))
		wait(40 * time.Minute)
		b.release(b.get("m", "a2"))
		b.expectClosed()
		wait(30 * time.Minute)
		b.expectClosed("m a3:8500")
		wait(50 * time.Minute)
		b.expectClosed("m a2:8500", "m a3:8500") // The first one is still in use.
		b.release(long)
		wait(59 * time.Minute)
		b.expectClosed("m a2:8500", "m a3:8500")
		wait(2 * time.Minute)
		b.expectClosed("m a1:8500", "m a2:8500", "m a3:8500")
		b.release(b.get("m", "a1"))
		if n := len(b.opened); n != 4 {
			t.Errorf("opened %d; want an exporter that was dropped to be made anew", n)
		}
		wait(2 * time.Hour)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.entries) != 0 {
			t.Errorf("%d are kept; want none", len(b.entries))
		}
	})
}

func TestKeeper_Limit(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3)
	inUse := b.get("m", "a1")
	b.release(b.get("m", "a2"))
	b.release(b.get("m", "a3"))
	b.release(b.get("m", "a2"))
	b.release(b.get("m", "a4"))
	b.expectClosed("m a3:8500") // The one that was not used longest.
	b.release(b.get("m", "a5"))
	b.expectClosed("m a2:8500", "m a3:8500")
	e4, e5 := b.get("m", "a4"), b.get("m", "a5")
	if _, err := b.tryGet("m", "a6"); !errors.Is(err, errBusy) {
		t.Errorf("got error %v, want %v", err, errBusy)
	}
	b.release(inUse)
	b.release(b.get("m", "a6"))
	b.expectClosed("m a1:8500", "m a2:8500", "m a3:8500")
	b.release(e4)
	b.release(e5)
	b.dropWhere(func(string, *config.ValidModule) bool { return true })
}

func TestKeeper_ChangedModule(t *testing.T) {
	t.Parallel()
	b := newBench(t, 10)
	before := b.module
	running := b.get("m", "a1")
	b.release(b.get("m", "a2"))
	b.module = testModule(t)
	current := b.get("other", "a1")
	b.dropWhere(func(_ string, m *config.ValidModule) bool { return m == before })
	b.expectClosed("m a2:8500") // The one in use waits.
	again := b.get("m", "a1")
	if again == running {
		t.Error("a module that has changed still has its exporter")
	}
	b.release(running)
	b.expectClosed("m a1:8500", "m a2:8500")
	b.release(again)
	b.release(current)

	// Also when nobody has said that the module has changed.
	b.module = testModule(t)
	if b.get("m", "a1") == again {
		t.Error("a module that has changed still has its exporter")
	}
	b.expectClosed("m a1:8500", "m a1:8500", "m a2:8500")
	b.dropWhere(func(string, *config.ValidModule) bool { return true })
}
