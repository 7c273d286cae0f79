// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// newTestRefusals returns an empty memory and how to set its clock forward.
func newTestRefusals() (r *Refusals, forward func(time.Duration)) {
	now := time.Unix(1000, 0)
	return newRefusals(func() time.Time { return now }), func(d time.Duration) { now = now.Add(d) }
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	denied := api.StatusError{Code: 403, Body: "Permission denied"}
	for _, tc := range []struct {
		name                 string
		subject, credentials string // By default the same as before.
		before               func(*Refusals)
		after                time.Duration
		want                 bool
	}{
		{name: "at once", want: true},
		{name: "something else", subject: "http://a/other"},
		{name: "before the shortest wait", after: 4*time.Minute - time.Second, want: true},
		{name: "after the longest wait", after: 6 * time.Minute},
		{name: "with other credentials", credentials: "new"},
		{name: "the agent's configuration has changed", before: func(r *Refusals) { r.ForgetAll("http://a/") }},
		{
			name:   "the configuration of another agent has changed",
			before: func(r *Refusals) { r.ForgetAll("http://b/") }, want: true,
		},
		{name: "it was answered", before: func(r *Refusals) { r.Forget("http://a/path") }},
	} {
		r, forward := newTestRefusals()
		if err := r.Add("http://a/path", "token", denied); !errors.Is(err, ErrRefused) || !IsDenied(err) {
			t.Errorf("error %v is not a refusal with its cause", err)
		}
		if tc.before != nil {
			tc.before(r)
		}
		forward(tc.after)
		again := r.Check(cmp.Or(tc.subject, "http://a/path"), cmp.Or(tc.credentials, "token"))
		if got := again != nil; got != tc.want {
			t.Errorf("%s: refused = %v; want %v", tc.name, got, tc.want)
		}
	}
}

func TestRefusals_BackOff(t *testing.T) {
	t.Parallel()
	expectWaits(t, api.StatusError{Code: 403, Body: "Permission denied"},
		5*time.Minute, time.Hour, 6*time.Hour, 24*time.Hour, 24*time.Hour)
}

// A server that has just started does not know the token yet; one that was deleted is asked about less and less
// often.
func TestRefusals_UnknownToken(t *testing.T) {
	t.Parallel()
	expectWaits(t, api.StatusError{Code: 403, Body: "ACL not found"},
		10*time.Second, 20*time.Second, 40*time.Second, 80*time.Second, 160*time.Second,
		5*time.Minute, time.Hour, 6*time.Hour, 24*time.Hour)
}

// expectWaits compares how long refusals in a row hold.
func expectWaits(t *testing.T, err error, want ...time.Duration) {
	t.Helper()
	r, forward := newTestRefusals()
	for i, wait := range want {
		_ = r.Add("path", "token", err)
		start := r.Now()
		for r.Check("path", "token") != nil {
			forward(time.Second)
		}
		if got := r.Now().Sub(start); got < wait*4/5 || got > wait*6/5+time.Second {
			t.Errorf("refusal %d held for %s; want %s, give or take a fifth", i+1, got, wait)
		}
	}
}

// What is refused costs no more than four lines in Consul's log a day.
func TestRefusals_LinesPerDay(t *testing.T) {
	t.Parallel()
	for range 100 {
		r, forward := newTestRefusals()
		lines := 0
		for end := r.Now().Add(24 * time.Hour); r.Now().Before(end); forward(15 * time.Second) {
			if r.Check("path", "") == nil {
				lines++
				_ = r.Add("path", "", errors.New("no"))
			}
		}
		if lines != 4 {
			t.Fatalf("scrapes every 15 s asked %d times in a day; want 4", lines)
		}
	}
}

func TestRefusals_StartOver(t *testing.T) {
	t.Parallel()
	r, forward := newTestRefusals()
	for range 3 {
		_ = r.Add("path", "token", errors.New("no"))
	}
	_ = r.Add("path", "new", errors.New("no"))
	forward(6 * time.Minute)
	if r.Check("path", "new") != nil {
		t.Error("the first refusal with new credentials holds for longer than a first one")
	}
}
