// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// clock is a clock that a test sets.
type clock struct{ time.Time }

func newClock() *clock { return &clock{time.Unix(1000, 0)} }

func (c *clock) now() time.Time { return c.Time }

func (c *clock) forward(d time.Duration) { c.Time = c.Add(d) }

func TestRefusals(t *testing.T) {
	t.Parallel()
	denied := api.StatusError{Code: 403, Body: "Permission denied"}
	for _, tc := range []struct {
		name, subject, credentials string
		before                     func(*Refusals)
		after                      time.Duration
		want                       bool
	}{
		{name: "at once", subject: "http://a/path", credentials: "token", want: true},
		{name: "something else", subject: "http://a/other", credentials: "token"},
		{
			name: "before the shortest wait", subject: "http://a/path", credentials: "token",
			after: 4*time.Minute - time.Second, want: true,
		},
		{name: "after the longest wait", subject: "http://a/path", credentials: "token", after: 6 * time.Minute},
		{name: "with other credentials", subject: "http://a/path", credentials: "new"},
		{
			name: "the agent's configuration has changed", subject: "http://a/path", credentials: "token",
			before: func(r *Refusals) { r.ForgetAll("http://a/") },
		},
		{
			name: "the configuration of another agent has changed", subject: "http://a/path", credentials: "token",
			before: func(r *Refusals) { r.ForgetAll("http://b/") }, want: true,
		},
		{
			name: "it was answered", subject: "http://a/path", credentials: "token",
			before: func(r *Refusals) { r.Forget("http://a/path") },
		},
	} {
		c := newClock()
		r := newRefusals(c.now)
		if err := r.Add("http://a/path", "token", denied); !errors.Is(err, ErrRefused) || !IsDenied(err) {
			t.Errorf("error %v is not a refusal with its cause", err)
		}
		if tc.before != nil {
			tc.before(r)
		}
		c.forward(tc.after)
		if got := r.Check(tc.subject, tc.credentials) != nil; got != tc.want {
			t.Errorf("%s: refused = %v; want %v", tc.name, got, tc.want)
		}
	}
}

// waits returns how long each of n refusals in a row holds.
func waits(n int, err error) []time.Duration {
	c := newClock()
	r := newRefusals(c.now)
	var all []time.Duration
	for range n {
		_ = r.Add("path", "token", err)
		start := c.Time
		for r.Check("path", "token") != nil {
			c.forward(time.Second)
		}
		all = append(all, c.Sub(start))
	}
	return all
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
	for i, got := range waits(len(want), err) {
		if got < want[i]*4/5 || got > want[i]*6/5+time.Second {
			t.Errorf("refusal %d held for %s; want %s, give or take a fifth", i+1, got, want[i])
		}
	}
}

// What is refused costs no more than four lines in Consul's log a day.
func TestRefusals_LinesPerDay(t *testing.T) {
	t.Parallel()
	for range 100 {
		c := newClock()
		r := newRefusals(c.now)
		lines := 0
		for end := c.Add(24 * time.Hour); c.Before(end); c.forward(15 * time.Second) {
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
	c := newClock()
	r := newRefusals(c.now)
	for range 3 {
		_ = r.Add("path", "token", errors.New("no"))
	}
	_ = r.Add("path", "new", errors.New("no"))
	c.forward(6 * time.Minute)
	if r.Check("path", "new") != nil {
		t.Error("the first refusal with new credentials holds for longer than a first one")
	}
}
