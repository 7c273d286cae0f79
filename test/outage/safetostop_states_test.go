// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// A stopFault is something that is the matter with a server while somebody asks whether one can be stopped.
type stopFault string

const (
	faultNone     stopFault = "well"
	faultDead     stopFault = "dead"       // It was killed, and Consul may not know yet, know, or have forgotten.
	faultHung     stopFault = "hung"       // SIGSTOP, likewise.
	faultWoken    stopFault = "woken"      // It hung, and goes on the moment before the question.
	faultLags     stopFault = "lags"       // It hung while hundreds of entries were written, and has just gone on.
	faultLeft     stopFault = "left"       // It left in order, and gave up its vote.
	faultNoVote   stopFault = "no vote"    // It left, came back, and autopilot does not give it a vote yet.
	faultRestarts stopFault = "restarts"   // It was killed and has just been started.
	faultRenamed  stopFault = "renamed"    // It has another name than before, and the same node ID.
	faultReplica  stopFault = "replica"    // read_replica, which Consul CE ignores except for the tag: it votes.
	faultTurns    stopFault = "turns away" // Its port 8300 takes no more connections from our address.
	faultStalled  stopFault = "stalled"    // Its disk does not write.
)

// easyFaults are those that need nothing but the agents; the last one takes strace.
var easyFaults = []stopFault{
	faultDead, faultHung, faultWoken, faultLags, faultLeft, faultNoVote, faultRestarts, faultRenamed, faultReplica,
	faultTurns,
}

// A stopState is what is the matter with each server of a cluster, which one is to be stopped, and who is asked.
type stopState struct {
	number  int
	servers int
	faults  []stopFault // By server.
	target  int
	asked   int
	// byID is whether the server is named by its node ID, and after how long the question comes after the last fault.
	byID  bool
	after time.Duration
}

func (s stopState) String() string {
	return fmt.Sprintf("state %d: %d servers: %v after %s, stop number %d, ask number %d",
		s.number, s.servers, s.faults, s.after, s.target+1, s.asked+1)
}

// newStopState makes a state from random numbers. One in five has no fault, and
// seldom half of the servers have one.
func newStopState(number int, servers int, faults []stopFault, random *rand.Rand) stopState {
	s := stopState{
		number: number, servers: servers, faults: slices.Repeat([]stopFault{faultNone}, servers),
		target: random.IntN(servers), byID: random.IntN(2) == 0,
		after: time.Duration(random.IntN(12000)) * time.Millisecond,
	}
	broken := 0
	if random.IntN(5) > 0 {
		broken = 1 + random.IntN(servers/2)
	}
	if random.IntN(8) == 0 {
		broken++ // Which is one too many, often.
	}
	order := random.Perm(servers)
	for _, i := range order[:broken] {
		s.faults[i] = faults[random.IntN(len(faults))]
	}
	well := slices.DeleteFunc(slices.Clone(order), func(i int) bool { return !s.faults[i].answers() })
	s.asked = well[random.IntN(len(well))]
	return s
}

// answers reports whether a server with the fault answers over HTTP.
func (f stopFault) answers() bool {
	return !slices.Contains([]stopFault{faultDead, faultHung, faultLeft}, f)
}

// A stopCluster is a cluster in which states are made, one after the other.
type stopCluster struct {
	*testing.T

	*consultest.Cluster
	// undo takes back what was done for a state, apart from the agents' processes.
	undo []func()
	// written counts the keys.
	written int
}

func newStopCluster(t *testing.T, servers int) *stopCluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := &stopCluster{T: t, Cluster: must.Get(consultest.New(ctx, consultest.Options{Servers: servers}))(t)}
	must.Do(t, c.heal())
	return c
}

// heal takes back what was done, waits until all servers vote and are healthy, and reports whether they are.
func (c *stopCluster) heal() error {
	c.revert()
	ctx, cancel := context.WithTimeout(c.Context(), 90*time.Second)
	defer cancel()
	var starting sync.WaitGroup
	errs := make([]error, len(c.Servers))
	for i, a := range c.Servers {
		starting.Go(func() {
			if a.Running() {
				errs[i] = a.Continue()
			} else {
				errs[i] = a.Restart(ctx)
			}
		})
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := c.stabilize(ctx, 10*time.Second); err != nil {
		return err
	}
	return errors.Join(c.WaitMembers(ctx, len(c.Servers)), c.WaitHealthy(ctx))
}

// revert takes back what was done, apart from the agents' processes.
func (c *stopCluster) revert() {
	for _, undo := range slices.Backward(c.undo) {
		undo()
	}
	c.undo = nil
}

// stabilize sets how long a server must be well before it gets a vote.
func (c *stopCluster) stabilize(ctx context.Context, d time.Duration) error {
	return consultest.Poll(ctx, "autopilot's settings", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		config, err := leader.Client().Operator().AutopilotGetConfiguration((&api.QueryOptions{}).WithContext(ctx))
		if err != nil || config.ServerStabilizationTime.Duration() == d {
			return err
		}
		config.ServerStabilizationTime = api.NewReadableDuration(d)
		return leader.Client().Operator().AutopilotSetConfiguration(config, (&api.WriteOptions{}).WithContext(ctx))
	})
}

// make makes a state. The last of what it does is what must happen right before the question.
func (c *stopCluster) make(s stopState) {
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
	defer cancel()
	last := func() {}
	for i, f := range s.faults {
		a := c.Servers[i]
		switch f {
		case faultNone:
		case faultDead:
			must.Do(c.T, a.Kill())
		case faultHung:
			must.Do(c.T, a.Stop())
		case faultWoken:
			must.Do(c.T, a.Stop())
			last = then(last, func() { must.Do(c.T, a.Continue()) })
		case faultLags:
			must.Do(c.T, a.Stop())
			last = then(func() { c.write(300) }, last, func() { must.Do(c.T, a.Continue()) })
		case faultLeft:
			c.leave(a)
		case faultNoVote:
			soon, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := c.stabilize(soon, time.Hour)
			cancel()
			if err != nil {
				c.Logf("%s: %v", s, err)
			}
			c.leave(a)
			must.Do(c.T, a.Restart(ctx))
		case faultRestarts:
			must.Do(c.T, a.Kill())
			last = then(last, func() { must.Do(c.T, a.Restart(ctx)) })
		case faultRenamed:
			c.rename(ctx, a, fmt.Sprintf("renamed-%d-%d", i, s.number))
		case faultReplica:
			must.Do(c.T, a.Configure(map[string]any{"read_replica": true}))
			must.Do(c.T, a.Restart(ctx))
			c.undo = append(c.undo, func() {
				must.Do(c.T, a.Configure(map[string]any{"read_replica": false}))
				must.Do(c.T, a.Kill())
			})
		case faultTurns:
			c.crowd(a)
		case faultStalled:
			c.stall(a)
		}
	}
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
	}
	c.write(1) // Traffic: a disk that stands still is seen by what it does not write.
	last()
}

// rename restarts a server with another name, and with its own one for the next state.
func (c *stopCluster) rename(ctx context.Context, a *consultest.Agent, name string) {
	must.Do(c.T, a.Configure(map[string]any{"node_name": name}))
	must.Do(c.T, a.Restart(ctx))
	c.undo = append(c.undo, func() {
		must.Do(c.T, a.Configure(map[string]any{"node_name": a.Name}))
		must.Do(c.T, a.Kill())
	})
}

// leave makes a server leave. Without a leader it cannot, and is killed.
func (c *stopCluster) leave(a *consultest.Agent) {
	ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
	defer cancel()
	if err := a.Leave(ctx); err != nil {
		must.Do(c.T, a.Kill())
	}
}

// then does one thing after the other.
func then(all ...func()) func() {
	return func() {
		for _, do := range all {
			do()
		}
	}
}

// write writes some keys, as far as that is possible within seconds.
func (c *stopCluster) write(n int) {
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	for range n {
		c.written++
		if c.put(ctx, strconv.Itoa(c.written)) != nil {
			return
		}
	}
}

// put writes a key through any server.
func (c *stopCluster) put(ctx context.Context, value string) error {
	var errs []error
	for _, a := range c.Servers {
		if !a.Running() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		pair := &api.KVPair{Key: "safe-to-stop", Value: []byte(value)}
		_, err := a.Client().KV().Put(pair, new(api.WriteOptions).WithContext(ctx))
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", a, err))
	}
	return errors.Join(errs...)
}

// crowd opens as many connections to a server's port 8300 as it takes from one address (rpc_max_conns_per_client).
func (c *stopCluster) crowd(a *consultest.Agent) {
	for range 100 {
		conn := must.Get((&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).
			DialContext(c.Context(), "tcp", a.HostPort(consultest.PortServer)))(c.T)
		_, _ = conn.Write([]byte{0}) // What follows is RPC. Nothing does.
		c.undo = append(c.undo, func() { conn.Close() })
	}
}

// stall stalls a server's disk. What is held up would stay so, so the server is killed in the end.
func (c *stopCluster) stall(a *consultest.Agent) {
	resume := harness.StallDisk(c.T, a)
	c.undo = append(c.undo, func() {
		resume()
		must.Do(c.T, a.Kill())
	})
}

// question asks the real program, in a process of its own, whether the state's server can be stopped.
func (c *stopCluster) question(s stopState, args ...string) (answer stopAnswer, code int) {
	target := c.Servers[s.target]
	name := target.Name
	if s.byID || s.faults[s.target] == faultRenamed {
		name = target.NodeID()
	}
	return askToStop(c.T, c.Servers[s.asked], name, args...)
}

// askToStop runs check --safe-to-stop.
func askToStop(t *testing.T, asked *consultest.Agent, server string, args ...string) (answer stopAnswer, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{
		"check", "--consul.server=" + asked.URL(), "--probe.timeout=1s", "--output=json", "--safe-to-stop=" + server,
	}, args...)...)
	cmd.Env = append(os.Environ(), harness.AsExporter+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Errorf("run check: %v", err)
		return answer, -1
	}
	code = cmd.ProcessState.ExitCode()
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Errorf("exit code %d, printed %q and %q: %v", code, out.String(), errs.String(), err)
	}
	return answer, code
}

// play makes a state, asks, and if the answer is yes, stops the server and expects that a write succeeds soon.
func (c *stopCluster) play(s stopState) verdict.Answer {
	c.make(s)
	answer, code := c.question(s)
	why := strings.Join(answer.Reasons, " ") + answer.Error
	if code != exitCodes[answer.Answer] || answer.Safe != (answer.Answer == verdict.AnswerYes) {
		c.Errorf("%s: exit code %d does not go with %+v", s, code, answer)
	}
	if answer.Answer != verdict.AnswerYes {
		c.Logf("%s: %s: %s", s, answer.Answer, why)
		return answer.Answer
	}
	must.Do(c.T, c.Servers[s.target].Kill())
	start := time.Now()
	ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
	defer cancel()
	err := consultest.Poll(ctx, "a write", func(context.Context) error {
		return c.put(ctx, fmt.Sprintf("state %d", s.number))
	})
	c.Logf("%s: yes: %s A write succeeded after %.1f s.", s, why, time.Since(start).Seconds())
	if err != nil {
		c.Errorf("%s: yes: %s But then: %v", s, why, err)
	}
	return answer.Answer
}

var exitCodes = map[verdict.Answer]int{verdict.AnswerYes: 0, verdict.AnswerNo: 2, verdict.AnswerUnknown: 3}

// playStates plays states on clusters of three and five servers, several at one time, and counts the answers. The seed
// and a state's number make the state.
func playStates(t *testing.T, seed uint64, states, workers int, faults []stopFault) map[verdict.Answer]int {
	t.Helper()
	consultest.WaitTurn(t)
	numbers := [2]chan int{make(chan int, states), make(chan int, states)}
	for n := range states {
		numbers[n%2] <- n
	}
	close(numbers[0])
	close(numbers[1])
	var mu sync.Mutex
	counts := make(map[verdict.Answer]int)
	var playing sync.WaitGroup
	for w := range workers {
		servers := []int{3, 5}[w%2]
		playing.Go(func() {
			var c *stopCluster
			for n := range numbers[w%2] {
				t.Run(fmt.Sprintf("%d", n), func(t *testing.T) {
					before := c
					c = nil // Until there is one that is well.
					c = readyFor(t, before, servers)
					answer := c.play(newStopState(n, servers, faults, rand.New(rand.NewPCG(seed, uint64(n)))))
					mu.Lock()
					counts[answer]++
					mu.Unlock()
				})
			}
			if c != nil {
				c.T = t
				c.revert()
				_ = c.Close()
			}
		})
	}
	playing.Wait()
	return counts
}

// readyFor returns a cluster in which all is well: the one of the state before, or else another one.
func readyFor(t *testing.T, c *stopCluster, servers int) *stopCluster {
	t.Helper()
	if c == nil {
		return newStopCluster(t, servers)
	}
	c.T = t
	if err := c.heal(); err != nil {
		t.Logf("the cluster is replaced: %v", err)
		_ = c.Close()
		return newStopCluster(t, servers)
	}
	return c
}

// TestSafeToStop_States is a sample of TestProveSafeToStop.
func TestSafeToStop_States(t *testing.T) {
	t.Parallel()
	const seed, states = 1, 8
	counts := playStates(t, seed, states, 2, easyFaults)
	t.Logf("answers: %v", counts)
	yes := counts[verdict.AnswerYes]
	if yes+counts[verdict.AnswerNo]+counts[verdict.AnswerUnknown] != states || yes < 3 {
		t.Errorf("answers: %v; want %d, and 3 of them yes at least", counts, states)
	}
}
