package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

func TestZZDocs(t *testing.T) {
	c := startCalm(t, consultest.Options{Servers: 3})
	leader := leaderOf(t, c)
	other := others(c, leader)[0]
	third := others(c, leader, other)[0]
	r := startResponder(t, leader.URL(), 3, fmt.Sprintf(`
  - name: hung-server
    matchers: [alertname="ConsulServerHung"]
    dry_run: false
    cooldown: 1s
    max_per_hour: 9
    action: {exec: {command: %s, args: [consul]}}
  - name: slow-leader
    matchers: [alertname="LeaderSlow"]
    dry_run: false
    cooldown: 30m
    action: {transfer-leadership: {}}
`, "/tmp/restart-hung-consul")+removeRule)
	e := startExporter(t, nil, "--consul.server="+leader.URL(), "--responder.url="+r.url)
	r.deliver(t, firing("LeaderSlow", time.Now(), "server", leader.Name))
	r.waitDecision(t)
	waitCalm(t, c)
	r.deliver(t, firing("LeaderSlow", time.Now(), "server", leaderOf(t, c).Name))
	r.waitDecision(t, "result", "cooldown")
	r.deliver(t, firing("ConsulServerHung", time.Now(), "server", third.Name))
	r.waitDecision(t, "alertname", "ConsulServerHung")
	time.Sleep(2 * time.Second)
	r.deliver(t, firing("ConsulServerHung", time.Now(), "server", other.Name))
	r.waitDecision(t, "alertname", "ConsulServerHung", "server", other.Name)
	must(t, third.Kill())
	waitFailed(t, c, third)
	for range 2 {
		r.deliver(t, firing("ConsulServerDown", time.Now(), "server", third.Name))
		time.Sleep(time.Second)
	}
	r.waitDecision(t, "alertname", "ConsulServerDown")
	for _, path := range []string{"/history", "/metrics"} {
		_, body, _ := r.get(t.Context(), path, time.Second)
		os.WriteFile("/tmp/zz"+path[1:], []byte(body), 0o600)
	}
	for i := range 2 {
		_, body, _ := e.get(t.Context(), "/", time.Second)
		os.WriteFile(fmt.Sprintf("/tmp/zz%d.html", i), []byte(body), 0o600)
		r.stop()
		time.Sleep(6 * time.Second)
	}
	os.WriteFile("/tmp/zzlog", []byte(r.log.String()), 0o600)
}
