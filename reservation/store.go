// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package reservation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/inputs"
)

// maxTries bounds how often something is tried again because somebody else was faster.
const maxTries = 10

// Store is the KV entry as one host sees it. It is for one goroutine. Apart from the responder, nothing else in this
// program writes to Consul.
type Store struct {
	kv    *api.KV
	key   string
	clock Clock
	// read is what was last read, and index its ModifyIndex: 0 if there is no entry.
	read  List
	index uint64
}

// New returns the store for the agent that the options name, with the key and the clock that counts. The token of the
// options may need to write the key, and nothing else.
func New(opts consul.Options, key string, clock Clock) (*Store, error) {
	client, err := consul.NewAPIClient(opts)
	if err != nil {
		return nil, err
	}
	return &Store{kv: client.KV(), key: key, clock: clock}, nil
}

// ErrConflict means that somebody else has changed the entry since it was read.
var ErrConflict = errors.New("somebody else has changed the reservations at the same moment")

// Read reads which servers are to be stopped, from the leader, and notes which of them this host has not seen before.
// Those that it has seen for as long as they hold are not among them.
func (s *Store) Read(ctx context.Context) ([]Entry, error) {
	for range maxTries {
		if err := s.get(ctx); err != nil {
			return nil, fmt.Errorf("read the reservations in %s: %w", s.key, err)
		}
		if !s.read.seenBy(s.clock.ID, s.clock.seconds()) {
			return s.read.Stops, nil
		}
		if err := s.write(ctx, s.read); err != nil && !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, ErrConflict
}

func (s *Store) get(ctx context.Context) error {
	pair, _, err := s.kv.Get(s.key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return err
	}
	var text []byte
	s.index = 0
	if pair != nil {
		text, s.index = pair.Value, pair.ModifyIndex
	}
	s.read, err = parse(text)
	return err
}

// Reserve adds the server, or renews its entry, and returns how long it holds: not shorter than before. It fails with
// ErrConflict if the entry is not what was read.
func (s *Store) Reserve(
	ctx context.Context, server inputs.StoppingServer, holds time.Duration,
) (time.Duration, error) {
	list := s.read.with(Entry{
		Server: server.Name, NodeID: server.ID, ID: rand.Text(), Seconds: int64(holds.Seconds()),
		At: time.Now().UTC().Truncate(time.Second), Seen: []Sighting{{s.clock.ID, s.clock.seconds()}},
	})
	if len(list.Stops) > maxEntries { // It could not be read again.
		return 0, fmt.Errorf("there are %d reservations in %s already", len(s.read.Stops), s.key)
	}
	return time.Duration(list.Stops[len(list.Stops)-1].Seconds) * time.Second, s.write(ctx, list)
}

// Release removes the server's entry, and reports whether there was one. It fails with ErrConflict if the entry is not
// what was read.
func (s *Store) Release(ctx context.Context, server inputs.StoppingServer) (had bool, err error) {
	if !s.read.has(server) {
		return false, nil
	}
	return true, s.write(ctx, s.read.without(server))
}

// write replaces the entry if it is what was read.
func (s *Store) write(ctx context.Context, l List) error {
	if l.Stops == nil {
		l.Stops = []Entry{}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	pair := &api.KVPair{Key: s.key, Value: text, ModifyIndex: s.index}
	written, _, err := s.kv.CAS(pair, new(api.WriteOptions).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("write the reservations in %s: %w", s.key, err)
	}
	if !written {
		return ErrConflict
	}
	return nil
}
