// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// slotsVariable sets how many tests of all processes on this machine may have clusters at one time.
const slotsVariable = "TEST_CLUSTERS"

const slotPause = 100 * time.Millisecond

var machineSlots = slots{folder: slotFolder(), count: slotCount(os.Getenv(slotsVariable), runtime.GOMAXPROCS(0))}

// WaitTurn returns when the test has its turn to have clusters, however long that takes: only the timeout of go test
// ends it. Start calls it first. A test that lets another process start a cluster calls it itself, before it sets any
// timeout of its own.
func WaitTurn(tb testing.TB) {
	tb.Helper()
	machineSlots.claim(tb)
}

// slots bound how many tests have clusters at one time, in all processes that use the same folder. A slot is a locked
// file in there; the operating system unlocks it when the process ends, however it ends.
//
// As a test has one slot for all of its clusters and those of its subtests, no test that has a slot waits for another,
// and tests cannot wait for each other in a circle. A subtest whose parents have no cluster takes a slot of its own.
//
// There is one way left to wait in vain: tests that are parallel, have a cluster and wait for subtests that are
// parallel, too, which get no turn because the tests that run wait for slots. So a parallel test starts its cluster
// in the subtests then.
type slots struct {
	folder string
	count  int
	owners sync.Map // the names of the tests of this process that have a slot
}

// slotFolder is a folder that all processes of this user share.
func slotFolder() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "consul_cluster_exporter")
}

// slotCount is how many slots there are: what the variable says, or three for each processor, because tests
// of clusters mostly wait.
func slotCount(variable string, processors int) int {
	if n, err := strconv.Atoi(variable); err == nil && n > 0 {
		return n
	}
	return processors * 3
}

// claim returns when the test has a slot. It must be called before the cluster starts, so that the cluster is closed
// before the slot is given back.
func (s *slots) claim(tb testing.TB) {
	tb.Helper()
	if s.owned(tb.Name()) {
		return
	}
	file, err := s.take(tb.Context())
	if err != nil {
		tb.Fatalf("wait for a Consul cluster's turn: %v", err)
	}
	s.owners.Store(tb.Name(), true)
	tb.Cleanup(func() {
		s.owners.Delete(tb.Name())
		if err := file.Close(); err != nil { // Which unlocks it.
			tb.Errorf("end a Consul cluster's turn: %v", err)
		}
	})
}

// owned returns whether the test of this name or one of its parents has a slot.
func (s *slots) owned(name string) bool {
	for name != "" {
		if _, ok := s.owners.Load(name); ok {
			return true
		}
		name = name[:max(0, strings.LastIndexByte(name, '/'))]
	}
	return false
}

// take waits for a free slot and locks it. Closing the file unlocks it.
func (s *slots) take(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(slotPause)
	defer ticker.Stop()
	for {
		for i := range s.count {
			file, err := lockFile(filepath.Join(s.folder, fmt.Sprintf("cluster-%d.lock", i)))
			if !errors.Is(err, errLocked) {
				return file, err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("all %d slots in %s are taken: %w", s.count, s.folder, context.Cause(ctx))
		}
	}
}

// errLocked means that the file is locked by another process or test, or that the attempt was interrupted: try again.
var errLocked = errors.New("the file is locked")
