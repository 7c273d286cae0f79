// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// startBalancer starts what forwards each connection to the next of these agents, and returns where it listens.
func startBalancer(t *testing.T, agents []*consultest.Agent) (hostPort string) {
	t.Helper()
	var config net.ListenConfig
	listener := must.Get(config.Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = listener.Close() })
	var conns atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil { // The test has ended.
				return
			}
			go forward(conn, agents[int(conns.Add(1))%len(agents)])
		}
	}()
	return listener.Addr().String()
}

// forward copies in both directions until one side ends.
func forward(conn net.Conn, a *consultest.Agent) {
	defer conn.Close()
	to, err := net.Dial("tcp", a.HostPort(consultest.PortHTTP))
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, conn)
		_ = to.Close()
	}()
	_, _ = io.Copy(conn, to)
}

// Behind a balancer, what an agent measured is there in each scrape, under its own name: only the leader measures the
// age of its log.
func TestBalancer(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	harness.Settle(t, c)
	leader := harness.LeaderOf(t, c)
	e := harness.StartExporter(t, nil, "--consul.server="+startBalancer(t, c.Servers), "--probe.timeout=500ms")
	const ofLeader = "consul_agent_raft_oldest_log_age_seconds"
	var seen []string
	inARow := 0
	harness.WaitFor(t, 2*time.Minute, "telemetry of all servers in a row of scrapes", func() string {
		s := e.Scrape(t)
		who := s.Labels("consul_agent_goroutines", "server")
		if wrong := s.Labels(ofLeader, "server"); len(wrong) > 0 && !slices.Equal(wrong, []string{leader.Name}) {
			t.Fatalf("%s is of %v; want of the leader %s", ofLeader, wrong, leader)
		}
		if len(who) != 1 {
			seen, inARow = nil, 0
			return "a scrape without telemetry"
		}
		inARow++
		if !slices.Contains(seen, who[0]) {
			seen = append(seen, who[0])
		}
		enough := inARow >= 10 && len(seen) == len(c.Servers)
		return harness.Unless(enough, "%d scrapes, of %s", inARow, strings.Join(seen, ", "))
	})
}
