// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/contact"
	"github.com/zervigo/consul_cluster_exporter/reservation"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// reserveOptions are the flags about reservations.
type reserveOptions struct {
	reserve bool
	release string
	// releaseAsked is whether there is something to release, perhaps with an empty name.
	releaseAsked bool
	holds        time.Duration
	key          string
	tokenFile    string
}

func reserveFlags(cmd *kingpin.CmdClause, r *reserveOptions) {
	cmd.Flag("reserve",
		"With --safe-to-stop: say yes only after reserving the stop in Consul's KV, so that only one of several hosts gets "+
			"a yes. Needs key:write on --reserve.key.").
		BoolVar(&r.reserve)
	cmd.Flag("reserve.for", "How long a reservation holds if nobody releases it.").
		Default("15m").DurationVar(&r.holds)
	cmd.Flag("reserve.key", "Key of the KV entry with the reservations, the same on all hosts.").
		Default(reservation.DefaultKey).StringVar(&r.key)
	cmd.Flag("reserve.token-file", "File with the token that may write --reserve.key. Default: the token for everything.").
		StringVar(&r.tokenFile)
	cmd.Flag("release", "Name or node ID of a server: remove its reservation once it is back and caught up.").
		IsSetByUser(&r.releaseAsked).StringVar(&r.release)
}

// problems checks what is wrong with the flags.
func (r *reserveOptions) problems(ps *flagProblems, safeToStop string) {
	if r.reserve && safeToStop == "" {
		ps.note("--reserve", errors.New("there is nothing to reserve without --safe-to-stop"))
	}
	if r.releaseAsked && r.release == "" {
		ps.note("--release", errors.New("names no server"))
	}
	if r.release != "" && safeToStop != "" {
		ps.note("--release", errors.New("cannot be combined with --safe-to-stop"))
	}
	if r.holds < time.Second || r.holds > reservation.MaxDuration {
		ps.note("--reserve.for", fmt.Errorf("%s is not between 1s and %s", r.holds, reservation.MaxDuration))
	}
	if r.key == "" || strings.HasPrefix(r.key, "/") {
		ps.note("--reserve.key", errors.New("must not be empty or begin with a slash"))
	}
}

// reserver asks whether a server can be stopped, and reserves its stop; or it releases the reservation.
type reserver struct {
	*reserveOptions

	cluster *cluster.Cluster
	// client is how the reservations are reached, through the agent at address that the latest look has used.
	client  consul.Options
	address consul.Address
	store   *reservation.Store
	clock   reservation.Clock
	// limit bounds each look, and each reading and writing of the reservations.
	limit time.Duration
	// looks counts the looks, and known is how many there had been when a reservation was first read, by its ID.
	looks int
	known map[string]int
	// away are the reservations whose server was seen to be away, by their ID.
	away map[string]bool
}

// newReserver returns nil if neither is asked for.
func newReserver(c *cluster.Cluster, o *checkOptions) (*reserver, error) {
	if !o.reserve && o.release == "" {
		return nil, nil
	}
	opts := c.Options().Client
	opts.Namespace, opts.Partition = "", "" // All hosts must find the same entry.
	if o.tokenFile != "" {
		file, err := consul.NewTokenFile(o.tokenFile, nil)
		if err != nil {
			return nil, fmt.Errorf("--reserve.token-file: %w", err)
		}
		opts.Token = file.Token
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out the host's name: %w", err)
	}
	return &reserver{
		reserveOptions: &o.reserveOptions, cluster: c, client: opts, clock: reservation.HostClock(host),
		limit: o.timeout, known: make(map[string]int), away: make(map[string]bool),
	}, nil
}

// look finds out about the cluster, through an agent that answers.
func (r *reserver) look(ctx context.Context) (inputs.Stop, error) {
	r.looks++
	in, address, err := lookToStop(ctx, r.cluster, r.limit)
	if err != nil || (r.store != nil && address == r.address) {
		return in, err
	}
	r.address, r.client.Address = address, address
	r.store, err = reservation.New(r.client, r.key, r.clock)
	return in, err
}

// lookToStop finds out what the decision about a stop is made from, and returns the address of the agent it has asked.
func lookToStop(
	ctx context.Context, c *cluster.Cluster, timeout time.Duration,
) (in inputs.Stop, address consul.Address, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	snap := c.Snapshot(ctx)
	defer snap.Close()
	agent := snap.Agent()
	if in, err = inputs.ForStop(ctx, snap); err == nil {
		return in, snap.Address(), nil
	}
	if _, agentErr := agent.Get(ctx); agentErr != nil && !consul.IsDenied(agentErr) {
		trouble := contact.OfAgent(snap.Address(), agentErr)
		err = fmt.Errorf("%s. %s", trouble.What, trouble.Do)
	}
	return in, snap.Address(), err
}

// maxConflicts bounds how often the decision is made again because another host was faster: each of them is a host that
// has got its answer.
const maxConflicts = 10

// errTooManyHosts means that the bound was reached.
var errTooManyHosts = errors.New("too many hosts ask for a reservation at the same moment")

// ask decides whether the server can be stopped besides those that are reserved already, and reserves it. The decision
// is made again if the list of reservations was not the same anymore when the reservation was to be written. Then it
// looks once more: something may have changed since the first look, and the reservation is itself a write, which shows
// whether disks stand still.
func (r *reserver) ask(ctx context.Context, server string) (verdict.Stop, error) {
	in, err := r.look(ctx)
	if err != nil {
		return verdict.Stop{}, err
	}
	for range maxConflicts {
		entries, err := r.read(ctx)
		if err != nil {
			return verdict.Stop{}, err
		}
		if r.releaseReturned(ctx, entries, in) {
			continue
		}
		in.Stopping = reservation.Servers(entries)
		stop, err := verdict.JudgeStop(server, in)
		if err != nil || !stop.Safe {
			return stop, err
		}
		switch holds, err := r.write(ctx, stop); {
		case err == nil:
			return r.confirm(ctx, stop, in.Stopping, holds)
		case !errors.Is(err, reservation.ErrConflict):
			return verdict.Stop{}, err
		}
	}
	return verdict.Stop{}, errTooManyHosts
}

// read reads the reservations in time.
func (r *reserver) read(ctx context.Context) ([]reservation.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	return r.store.Read(ctx)
}

// write reserves the stop in time.
func (r *reserver) write(ctx context.Context, stop verdict.Stop) (holds time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	return r.store.Reserve(ctx, inputs.StoppingServer{Name: stop.Server, ID: stop.ID}, r.holds)
}

// confirm looks once more after the reservation is written, which holds that long, and takes it back if the answer is
// not yes anymore. One that there was before stays: somebody has got a yes for it, and may be about to stop the server.
func (r *reserver) confirm(
	ctx context.Context, stop verdict.Stop, stopping []inputs.StoppingServer, holds time.Duration,
) (verdict.Stop, error) {
	in, err := r.look(ctx)
	again := verdict.Stop{}
	if err == nil {
		in.Stopping = stopping
		again, err = verdict.JudgeStop(cmp.Or(stop.ID, stop.Server), in)
	}
	if err == nil && again.Safe {
		again.Reasons = append(again.Reasons, fmt.Sprintf("Its stop is reserved for %s.", holds))
		return again, nil
	}
	itself := inputs.StoppingServer{Name: stop.Server, ID: stop.ID}
	if slices.ContainsFunc(stopping, itself.Is) {
		again.Reasons = append(again.Reasons, fmt.Sprintf("Its stop was reserved before, and stays so for %s.", holds))
		return again, err
	}
	if left := r.remove(context.WithoutCancel(ctx), itself); left != nil {
		again.Reasons = append(again.Reasons, fmt.Sprintf("Its reservation could not be taken back (%v) and holds for %s.",
			left, holds))
	}
	return again, err
}

// remove takes a reservation back.
func (r *reserver) remove(ctx context.Context, server inputs.StoppingServer) error {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	for range maxConflicts {
		if _, err := r.store.Read(ctx); err != nil {
			return err
		}
		_, err := r.store.Release(ctx, server)
		if !errors.Is(err, reservation.ErrConflict) {
			return err
		}
	}
	return errTooManyHosts
}

// releaseReturned removes the reservation of a server that was seen to be away and is back, and reports whether it
// removed one. Only who waits sees that: at one look, a server that is back looks like one that has not been stopped
// yet. What a look saw before the reservation was read says nothing about it: the server may have been away for the one
// before.
func (r *reserver) releaseReturned(ctx context.Context, entries []reservation.Entry, in inputs.Stop) bool {
	for _, e := range entries {
		first, known := r.known[e.ID]
		if !known {
			r.known[e.ID] = r.looks
		}
		if !known || first == r.looks {
			continue
		}
		server := cmp.Or(e.NodeID, e.Server)
		answer, _, err := verdict.JudgeReturn(server, in)
		switch {
		case verdict.Away(server, in):
			r.away[e.ID] = true
		case err == nil && answer == verdict.AnswerYes && r.away[e.ID]:
			ctx, cancel := context.WithTimeout(ctx, r.limit)
			defer cancel()
			had, err := r.store.Release(ctx, inputs.StoppingServer{Name: e.Server, ID: e.NodeID})
			return had && err == nil
		}
	}
	return false
}

// back removes the reservation of a server that can be counted on again, and says so; or why it cannot. Consul forgets
// a server soon after it was stopped; it is not back then.
func (r *reserver) back(ctx context.Context, server string) (answer verdict.Answer, why string, err error) {
	in, err := r.look(ctx)
	if err != nil {
		return verdict.AnswerUnknown, "", err
	}
	answer, why, unknown := verdict.JudgeReturn(server, in)
	if unknown == nil && answer != verdict.AnswerYes {
		return answer, why, nil
	}
	entries, err := r.read(ctx)
	if err != nil {
		return verdict.AnswerUnknown, "", err
	}
	meant := slices.DeleteFunc(reservation.Servers(entries), func(stopped inputs.StoppingServer) bool {
		return !verdict.Means(server, stopped, in)
	})
	switch {
	case unknown != nil && len(meant) > 0 && verdict.Away(server, in):
		return verdict.AnswerNo, "Consul does not name it", nil
	case unknown != nil:
		return verdict.AnswerUnknown, "", unknown
	case len(meant) == 0:
		return answer, "it has no reservation", nil
	}
	for _, stopped := range meant {
		if err := r.remove(ctx, stopped); err != nil {
			return verdict.AnswerUnknown, "", err
		}
	}
	return answer, "its reservation is removed", nil
}
