// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// outsideNamespace is the variable in which `make e2e` tells the network namespace it was started in, as /proc has
// it.
const outsideNamespace = "E2E_OUTSIDE_NETNS"

// RequireNamespace fails the test unless it has a network namespace for itself: it changes the packet filter.
func RequireNamespace(t *testing.T) {
	t.Helper()
	const remedy = "these tests change the packet filter; " +
		"run them with 'make e2e', which gives them a network namespace of their own"
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatalf("%v: %s", err, remedy)
	}
	switch outside := os.Getenv(outsideNamespace); outside {
	case "":
		t.Fatalf("%s is not set: %s", outsideNamespace, remedy)
	case own:
		t.Fatalf("the network namespace is the one outside, %s: %s", own, remedy)
	}
	for _, i := range must.Get(net.Interfaces())(t) { // The kernel may have made tunnels, but they are down.
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			t.Fatalf("the network namespace has the interface %s: %s", i.Name, remedy)
		}
	}
}

// A PacketFilter are rules, in force until they are lifted or the test ends. Several may be in force at one time. The
// servers' peers do not notice rules about the exporter: unlike it, Consul's agents send from their own addresses.
type PacketFilter struct {
	table  string
	lifted bool
}

// filters counts the filters that were put in force, which names their tables.
var filters atomic.Int64

// FilterIncoming puts rules in force, each an nftables expression and its verdict.
//
// They apply to what comes in, not to what goes out: a packet dropped on its way out is an error of the sending
// program's system call, and that is not how it is between hosts.
func FilterIncoming(t *testing.T, rules ...string) *PacketFilter {
	t.Helper()
	f := &PacketFilter{table: fmt.Sprintf("inet consul_cluster_exporter_e2e_%d", filters.Add(1))}
	NFT(t, fmt.Sprintf(`
		table %s {
			chain incoming {
				type filter hook input priority filter; policy accept;
				%s
			}
		}`, f.table, strings.Join(rules, "\n")))
	t.Cleanup(func() { f.Lift(t) })
	return f
}

// Matched returns how many packets the rule has been applied to.
func (f *PacketFilter) Matched(t *testing.T) int {
	t.Helper()
	rules := NFT(t, "list table "+f.table)
	m := regexp.MustCompile(`counter packets (\d+)`).FindStringSubmatch(rules)
	if m == nil {
		t.Fatalf("the rule has no counter:\n%s", rules)
	}
	return must.Get(strconv.Atoi(m[1]))(t)
}

// Lift puts the rules out of force.
func (f *PacketFilter) Lift(t *testing.T) {
	t.Helper()
	if !f.lifted {
		NFT(t, "delete table "+f.table)
		f.lifted = true
	}
}

// NFT runs a script of nftables and returns what it prints.
func NFT(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s; it was given %s", err, out, script)
	}
	return string(out)
}
