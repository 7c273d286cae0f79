// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// raftRows are what the servers say about Raft.
func raftRows(st *status.View) [][]terminal.Cell {
	if len(st.Servers) == 0 {
		return nil
	}
	rows := [][]terminal.Cell{header("", "vote", "state", "calls leader", "term", "index", "lag", "contact", "autopilot")}
	for i := range st.Servers {
		s := &st.Servers[i]
		rows = append(rows, []terminal.Cell{
			plain(s.Name), plain(yesNo(s.Voter)), raftState(s), leaderCell(s), number(s.Term), number(s.LastLogIndex), number(s.LogLag),
			contact(s), autopilotCell(s),
		})
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func raftState(s *status.ServerStatus) terminal.Cell {
	switch s.RaftState {
	case "":
		return plain(dash)
	case cluster.RaftLeader:
		return terminal.Cell{Text: string(s.RaftState), Style: terminal.Bold}
	case cluster.RaftFollower:
		return plain(string(s.RaftState))
	default:
		return terminal.Cell{Text: string(s.RaftState), Style: terminal.Yellow}
	}
}

// leaderCell is whom the server calls leader.
func leaderCell(s *status.ServerStatus) terminal.Cell {
	switch {
	case s.HasLeader == nil:
		return plain(dash)
	case !*s.HasLeader:
		return terminal.Cell{Text: "nobody", Style: terminal.Alarm}
	default:
		return plain(s.Leader)
	}
}

func number(n *uint64) terminal.Cell {
	if n == nil {
		return plain(dash)
	}
	return plain(strconv.FormatUint(*n, 10))
}

// contact is how long ago the server heard of the leader.
func contact(s *status.ServerStatus) terminal.Cell {
	if s.LastContactSeconds == nil {
		return plain(dash)
	}
	if *s.LastContactSeconds == 0 {
		return plain("0 ms")
	}
	return plain(inMilliseconds(*s.LastContactSeconds) + " ms")
}

func autopilotCell(s *status.ServerStatus) terminal.Cell {
	switch {
	case s.AutopilotHealthy == nil:
		return plain(dash)
	case *s.AutopilotHealthy:
		return plain("healthy")
	default:
		return terminal.Cell{Text: "unhealthy", Style: terminal.Yellow}
	}
}
