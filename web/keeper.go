// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/config"
)

const (
	// keptMax bounds how many exporters are kept: a module's targets may be a large network.
	keptMax = 1000
	// keptIdle is how long an unused exporter is kept.
	keptIdle = time.Hour
)

// errBusy means that more targets than are kept are asked for at one time.
var errBusy = errors.New("too many targets are being probed at this time")

// keptKey says what an exporter is for.
type keptKey struct {
	module string // Name.
	target string // In the form of config.Target.String.
}

// kept is the exporter of one target. It outlives the request: its counters go on, and its cluster still knows its
// servers when the agent is gone.
type kept struct {
	key      keptKey
	exporter *collector.Exporter
	// close releases the exporter's cluster.
	close func()
	// module is what the exporter was made from.
	module *config.ValidModule

	users   int       // Guarded by keeper.mu: the requests that use it.
	dropped bool      // Guarded by keeper.mu: the last user closes it.
	used    time.Time // Guarded by keeper.mu: when it was last released.
	// expiry drops it after keptIdle; it is stopped while there are users.
	expiry *time.Timer
}

// keeper keeps exporters between requests.
type keeper struct {
	// open makes an exporter and returns how to close it.
	open func(name string, target config.Target) (*collector.Exporter, func(), error)
	max  int

	mu      sync.Mutex
	entries map[keptKey]*kept // Guarded by mu.
}

// acquire returns the exporter of a target, which must be released. One whose module has changed is replaced.
func (k *keeper) acquire(name string, module *config.ValidModule, target config.Target) (*kept, error) {
	key := keptKey{name, target.String()}
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[key]
	if e != nil && e.module != module {
		k.dropLocked(e)
		e = nil
	}
	if e == nil {
		if len(k.entries) >= k.max && !k.dropIdleLocked() {
			return nil, errBusy
		}
		exporter, closing, err := k.open(name, target)
		if err != nil {
			return nil, err
		}
		e = &kept{key: key, exporter: exporter, close: closing, module: module}
		e.expiry = time.AfterFunc(keptIdle, func() { k.expire(e) })
		k.entries[key] = e
	}
	e.expiry.Stop() // Should it be running already, it will see the user.
	e.users++
	return e, nil
}

// release ends a use.
func (k *keeper) release(e *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.users--
	e.used = time.Now()
	if e.users > 0 {
		return
	}
	if e.dropped {
		e.close()
		return
	}
	e.expiry.Reset(keptIdle)
}

// expire drops an exporter that was not used.
func (k *keeper) expire(e *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.users == 0 && !e.dropped && time.Since(e.used) >= keptIdle {
		k.dropLocked(e)
	}
}

// dropWhere drops the exporters for which the condition holds.
func (k *keeper) dropWhere(condition func(name string, module *config.ValidModule) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.entries {
		if condition(e.key.module, e.module) {
			k.dropLocked(e)
		}
	}
}

// dropIdleLocked drops the exporter that was unused longest, and reports whether there was one. mu must be held.
func (k *keeper) dropIdleLocked() bool {
	var oldest *kept
	for _, e := range k.entries {
		if e.users == 0 && (oldest == nil || e.used.Before(oldest.used)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	k.dropLocked(oldest)
	return true
}

// dropLocked forgets an exporter and closes it when its last user is done. mu must be held.
func (k *keeper) dropLocked(e *kept) {
	delete(k.entries, e.key)
	e.dropped = true
	e.expiry.Stop()
	if e.users == 0 {
		e.close()
	}
}
