// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

const keyed = `"consul-version" in Meta`

// What the dump is asked for, and what is left to be read service by service.
func TestSelectSafe(t *testing.T) {
	t.Parallel()
	const notKeyed = `"consul-version" not in NodeMeta`
	two := Members{Addresses: []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"}, Complete: true}
	many := Members{Complete: true} // Too many for a filter.
	var far Entries
	for i := range 1000 {
		many.Addresses = append(many.Addresses, fmt.Sprintf("10.1.%d.%d", i/256, i%256))
		far = append(far, entry{name: fmt.Sprint(i), address: fmt.Sprintf("10.2.%d.%d", i/256, i%256)})
	}
	versioned := entry{"new", "10.0.0.1", true}
	safe, atMember := entry{"esm", "db.example.com", false}, entry{"ext", "10.0.0.2", false}
	odd := entry{"odd", "a b`", false}
	for _, tc := range []struct {
		name         string
		nodes        Entries
		members      Members
		filter, rest string
		left         []string
	}{
		{"all have the key", Entries{versioned}, two, keyed, notKeyed, nil},
		{
			"safe addresses",
			Entries{versioned, safe, atMember, odd},
			two,
			"\"consul-version\" in Meta or Address matches `^(?:db\\.example\\.com)$`",
			"\"consul-version\" not in NodeMeta and Address not matches `^(?:db\\.example\\.com)$`",
			[]string{"ext", "odd"},
		},
		{
			"too many safe addresses", append(far, atMember), two,
			"\"consul-version\" in Meta or Address not matches `^(?:10\\.0\\.0\\.1|10\\.0\\.0\\.2)$`",
			"\"consul-version\" not in NodeMeta and Address matches `^(?:10\\.0\\.0\\.1|10\\.0\\.0\\.2)$`",
			[]string{"ext"},
		},
		{"too many of both", far, many, keyed, notKeyed, far.names()},
		{
			"members not all known",
			Entries{versioned, safe},
			Members{Addresses: two.Addresses[:1]},
			keyed, notKeyed,
			[]string{"esm"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sel := selectSafe(tc.nodes, &tc.members)
			if sel.filter() != tc.filter || sel.rest() != tc.rest || !slices.Equal(sel.left(tc.nodes), tc.left) {
				t.Errorf("filter %s, rest %s, left %q; want %s, %s, %q",
					sel.filter(), sel.rest(), sel.left(tc.nodes), tc.filter, tc.rest, tc.left)
			}
		})
	}
}

// More services than can be read one by one: those that are read are always the same, and the others are named.
func TestAskable(t *testing.T) {
	t.Parallel()
	services, missing, why := askable([]string{"b", "/x", "a", "b"})
	if !slices.Equal(services, []string{"a", "b"}) || !slices.Equal(missing, []string{"/x"}) ||
		!errors.Is(why, errNameNotAskable) {
		t.Errorf("asked for %q, not for %q: %v", services, missing, why)
	}
	var names []string
	for i := range maxServiceReads + 2 {
		names = append(names, fmt.Sprintf("s-%04d", i))
	}
	services, missing, why = askable(names)
	if len(services) != 1000 || !slices.Equal(missing, []string{"s-1000", "s-1001"}) ||
		!errors.Is(why, errTooManyServices) {
		t.Errorf("%d services are asked for, %q are not: %v", len(services), missing, why)
	}
}
