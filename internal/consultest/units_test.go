// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	tests := []struct {
		name             string
		base, over, want object
	}{
		{"nothing over", object{"a": 1}, nil, object{"a": 1}},
		{"over nothing", nil, object{"a": 1}, object{"a": 1}},
		{"replace", object{"a": 1, "b": 2}, object{"a": 3}, object{"a": 3, "b": 2}},
		{
			"deep",
			object{"a": object{"b": object{"c": 1, "d": 2}}},
			object{"a": object{"b": object{"c": 3}}},
			object{"a": object{"b": object{"c": 3, "d": 2}}},
		},
		{"a list is replaced", object{"a": []any{1, 2}}, object{"a": []any{3}}, object{"a": []any{3}}},
		{"an object over a value", object{"a": 1}, object{"a": object{"b": 2}}, object{"a": object{"b": 2}}},
		{"a value over an object", object{"a": object{"b": 2}}, object{"a": 1}, object{"a": 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, merge(test.base, test.over)); diff != "" {
				t.Errorf("merge() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPIPort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		ports     map[string]any
		preferTLS bool
		want      string
	}{
		{"default", nil, false, "http 8500"},
		{"another port", map[string]any{"http": 9500}, false, "http 9500"},
		{"TLS", map[string]any{"http": -1, "https": 8501}, true, "https 8501"},
		{"HTTPS only, without TLS for the rest", map[string]any{"http": -1, "https": 9501}, false, "https 9501"},
		{"both, with TLS", map[string]any{"http": 8500, "https": 8501}, true, "https 8501"},
		{"both, without TLS", map[string]any{"https": 8501}, false, "http 8500"},
		{"none", map[string]any{"http": -1}, false, "an error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config, err := plain(map[string]any{"ports": test.ports})
			if err != nil {
				t.Fatal(err)
			}
			scheme, port, err := apiPort(config, test.preferTLS)
			got := fmt.Sprintf("%s %d", scheme, port)
			if err != nil {
				got = "an error"
			}
			if got != test.want {
				t.Errorf("apiPort() = %s, want %s", got, test.want)
			}
		})
	}
}

func TestParseLog(t *testing.T) {
	t.Parallel()
	const (
		warning = `{"@level":"warn","@message":"Request error","@module":"agent.http","@timestamp":"2026-11-22T16:31:30.902304Z","url":"/v1/x"}`
		banner  = `==> Starting Consul agent...`
		crash   = `panic: runtime error: index out of range`
		other   = `{"no":"log line"}`
	)
	got := parseLog([]byte(banner + "\n\n" + warning + "\n" + crash + "\n" + other + "\n" + `{"@level":"error","@mess`))
	want := []LogLine{
		{Message: banner, Raw: banner},
		{
			Time: time.Date(2026, 11, 22, 16, 31, 30, 902304000, time.UTC), Level: "WARN",
			Module: "agent.http", Message: "Request error", Raw: warning,
		},
		{Level: "ERROR", Message: crash, Raw: crash},
		{Message: other, Raw: other},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseLog() (-want +got):\n%s", diff)
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	lines := []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {}, {Level: "TRACE"}, {Level: "WARN"}}
	tests := []struct {
		level string
		want  []LogLine
	}{
		{"TRACE", []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {Level: "TRACE"}, {Level: "WARN"}}},
		{"INFO", []LogLine{{Level: "INFO"}, {Level: "ERROR"}, {Level: "WARN"}}},
		{"WARN", []LogLine{{Level: "ERROR"}, {Level: "WARN"}}},
		{"ERROR", []LogLine{{Level: "ERROR"}}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, AtLeast(lines, test.level)); diff != "" {
			t.Errorf("AtLeast(%s) (-want +got):\n%s", test.level, diff)
		}
	}
}

// TestEstablished looks for a connection of its own in the kernel's table.
func TestEstablished(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	count := func() int {
		table, readErr := os.ReadFile("/proc/net/tcp")
		if readErr != nil {
			t.Fatal(readErr)
		}
		return established(table, netip.MustParseAddrPort(listener.Addr().String()))
	}
	if got := count(); got != 0 {
		t.Errorf("established() = %d for a listener, want 0", got)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := count(); got != 1 {
		t.Errorf("established() = %d for a connection, want 1", got)
	}
}

func TestConnected(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0305057F:206C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0305057F:206C 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0305057F:2134 0100007F:9C41 08 00000000:00000000 00:00000000 00000000     0        0 3
   3: 0305057F:2134 0100007F:9C42 06 00000000:00000000 00:00000000 00000000     0        0 4
   4: 0305057F:206C 0205057F:9C43 01 00000000:00000000 00:00000000 00000000     0        0 5
   5: 0100007F:9C40 0305057F:206C 01 00000000:00000000 00:00000000 00000000     0        0 6
`
	addr := func(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }
	// Of six, one listens, one is closed on both sides, one comes from elsewhere, and one is the other end.
	if hexAddr(addr(127, 0, 0, 1)) == "0100007F" { // The table is that of a little-endian host.
		if got := connected([]byte(table), addr(127, 5, 5, 3), addr(127, 0, 0, 1)); got != 2 {
			t.Errorf("connected() = %d, want 2", got)
		}
	}
}

func TestLogLine_Kind(t *testing.T) {
	t.Parallel()
	line := func(text string) string { return parseLogLine(text).Kind() }
	tests := []struct{ raw, want string }{
		{
			`{"@level":"error","@message":"Request error","@module":"agent.http","@timestamp":"2026-11-22T16:31:30.902304Z",` +
				`"error":"rpc error: No cluster leader","from":"127.0.0.1:4711","method":"GET","url":"/v1/connect/ca/roots?stale"}`,
			"[ERROR] agent.http: Request error error=rpc error: No cluster leader from=* method=GET url=/v*/connect/ca/roots?stale",
		},
		{
			`{"@level":"warn","@message":"heartbeat timeout reached, starting election","@module":"agent.server.raft","last-leader-addr":"127.4.4.2:8300",` +
				`"last-leader-id":"e4ab2f4b-0000-4000-8000-0123456789ab","took":"1.5ms"}`,
			"[WARN] agent.server.raft: heartbeat timeout reached, starting election last-leader-addr=* last-leader-id=* took=*",
		},
		{"panic: index 7 out of range", "panic: index * out of range"},
	}
	for _, test := range tests {
		if got := line(test.raw); got != test.want {
			t.Errorf("Kind() = %q, want %q", got, test.want)
		}
	}
	if line(`{"@level":"warn","@message":"a","x":1}`) == line(`{"@level":"warn","@message":"a","y":1}`) {
		t.Error("lines with different fields are of one kind")
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	calls := 0
	err := poll(t.Context(), "the third time", func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a check has no deadline")
		}
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("poll() = %v after %d calls, want nil after 3", err, calls)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = poll(ctx, "the impossible", func(context.Context) error { return errors.New("never") })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "impossible") || !strings.Contains(err.Error(), "never") {
		t.Errorf("poll() error = %v, want a timeout that says what for and why", err)
	}

	hopeless := errors.New("hopeless")
	err = poll(t.Context(), "nothing", func(context.Context) error { return fmt.Errorf("look: %w", fatal(hopeless)) })
	if !errors.Is(err, hopeless) {
		t.Errorf("poll() error = %v, want the fatal one", err)
	}
}

func TestCatalog_Instances(t *testing.T) {
	t.Parallel()
	tests := []struct {
		catalog Catalog
		// How many instances a service and a node have, and how many checks are not passing.
		perService, perNode [2]int
		warning, critical   int
	}{
		{Catalog{Nodes: 1, Services: 1, Instances: 1}, [2]int{1, 1}, [2]int{1, 1}, 0, 0},
		{Catalog{Nodes: 5, Services: 7, Instances: 200}, [2]int{28, 29}, [2]int{40, 40}, 4, 2},
		{Catalog{Nodes: 200, Services: 1000, Instances: 5000}, [2]int{5, 5}, [2]int{25, 25}, 99, 51},
		{Catalog{Nodes: 200, Services: 2000, Instances: 5000}, [2]int{2, 3}, [2]int{25, 25}, 99, 51},
		{Catalog{Nodes: 960, Services: 5000, Instances: 24000}, [2]int{4, 5}, [2]int{25, 25}, 476, 247},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.catalog.Services, "/", test.catalog.Instances), func(t *testing.T) {
			t.Parallel()
			services, nodes, statuses := map[int]int{}, map[int]int{}, map[string]int{}
			ids, onNode := map[string]bool{}, map[[2]int]bool{}
			for i := range test.catalog.Instances {
				in := test.catalog.instance(i)
				services[in.service]++
				nodes[in.node]++
				statuses[in.status]++
				if in.number != services[in.service] {
					t.Fatalf("instance %d is number %d of its service, want %d", i, in.number, services[in.service])
				}
				ids[in.id()] = true
				onNode[[2]int{in.node, in.port}] = true
			}
			if len(services) != test.catalog.Services || len(nodes) != test.catalog.Nodes {
				t.Errorf("%d services on %d nodes, want %+v", len(services), len(nodes), test.catalog)
			}
			if len(ids) != test.catalog.Instances || len(onNode) != test.catalog.Instances {
				t.Errorf("%d names and %d ports, want one for each of %d instances", len(ids), len(onNode), test.catalog.Instances)
			}
			if got := extremes(services); got != test.perService {
				t.Errorf("services have from %d to %d instances, want %d", got[0], got[1], test.perService)
			}
			if got := extremes(nodes); got != test.perNode {
				t.Errorf("nodes have from %d to %d instances, want %d", got[0], got[1], test.perNode)
			}
			if statuses["warning"] != test.warning || statuses["critical"] != test.critical {
				t.Errorf("checks by status are %v, want %d warning and %d critical", statuses, test.warning, test.critical)
			}
		})
	}
}

// extremes returns the smallest and the largest value.
func extremes(counts map[int]int) [2]int {
	values := slices.Sorted(maps.Values(counts))
	return [2]int{values[0], values[len(values)-1]}
}

func TestLoadCatalog_Impossible(t *testing.T) {
	t.Parallel()
	for _, catalog := range []Catalog{
		{},
		{Nodes: 0, Services: 1, Instances: 1},
		{Nodes: 1, Services: 0, Instances: 1},
		{Nodes: 1, Services: 2, Instances: 1},
	} {
		if err := new(Cluster).LoadCatalog(t.Context(), catalog); err == nil {
			t.Errorf("LoadCatalog(%+v) succeeds, want an error", catalog)
		}
	}
}

// It is not parallel, so as not to have one more cluster at the same time.
func TestWrite_Refused(t *testing.T) {
	cluster := Start(t, Options{Servers: 1})
	ops := Catalog{Nodes: 1, Services: 100, Instances: 100}.instanceOps()
	err := cluster.write(t.Context(), ops)
	if err == nil || !strings.Contains(err.Error(), "server-1 refuses operation 0: ") {
		t.Errorf("write() of services without a node has error %v, want which operation is refused", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cluster.write(ctx, ops); !errors.Is(err, context.Canceled) {
		t.Errorf("write() after the end of the context has error %v, want that", err)
	}
}

func TestRemoveStale(t *testing.T) {
	t.Parallel()
	dead := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	const dirPrefix = "consultest-"
	temp := t.TempDir()
	stale := fmt.Sprintf("%s%d-1", dirPrefix, dead.Process.Pid)
	alive := fmt.Sprintf("%s%d-1", dirPrefix, os.Getpid())
	for _, dir := range []string{stale, alive, dirPrefix + "notes", dirPrefix + "0-1"} {
		if err := os.MkdirAll(filepath.Join(temp, dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(temp, dirPrefix)
	var got []string
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	want := []string{dirPrefix + "0-1", alive, dirPrefix + "notes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("removeStale() leaves (-want +got):\n%s", diff)
	}
}
