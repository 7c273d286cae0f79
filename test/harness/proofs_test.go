// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// threeVoters are the series of three servers that are well.
func threeVoters() Samples {
	s := Samples{
		"consul_up": 1, "consul_cluster_consistent_read_success": 1, "consul_cluster_failure_margin": 1,
		"consul_cluster_leaders": 1, `consul_cluster_quorum_state{state="held"}`: 1,
		`consul_cluster_quorum_state{state="lost"}`: 0, `consul_cluster_writes_state{state="committing"}`: 1,
		`consul_cluster_voters_state{state="lost"}`: 0,
	}
	for i := range 3 {
		s[fmt.Sprintf(`consul_server_info{address="127.0.0.%d",id="%[1]d",server="server-%[1]d",voter="true"}`, i+1)] = 1
		s[fmt.Sprintf(`consul_port_up{port="8300",protocol="rpc",server="server-%d",transport="tcp"}`, i+1)] = 1
	}
	return s
}

func TestSamples_Contradictions(t *testing.T) {
	t.Parallel()
	lost := Samples{
		`consul_cluster_quorum_state{state="held"}`: 0, `consul_cluster_quorum_state{state="lost"}`: 1,
		`consul_cluster_writes_state{state="committing"}`: 0, `consul_cluster_writes_state{state="unknown"}`: 1,
	}
	noRead := Samples{"consul_cluster_consistent_read_success": 0}
	for name, tc := range map[string]struct {
		change Samples
		want   []string
	}{
		"all is well":              {},
		"the quorum is truly lost": {lost.With(noRead).With(Samples{"consul_cluster_failure_margin": -1}), nil},
		"a read, and the quorum is lost": {lost, []string{
			"a linearizable read succeeded, and the quorum is lost",
		}},
		"a read, and too few are left": {Samples{"consul_cluster_failure_margin": -1}, []string{
			"a linearizable read succeeded, and the failure margin is -1",
			"the quorum is held, and the failure margin is -1",
		}},
		"a read, and no leader": {Samples{"consul_cluster_leaders": 0}, []string{
			"a linearizable read succeeded, and there is no leader",
		}},
		"a read through nobody": {Samples{"consul_up": 0}, []string{
			"a linearizable read succeeded, and consul_up is 0",
		}},
		"two states": {Samples{`consul_cluster_quorum_state{state="unknown"}`: 1}, []string{
			"2 states of consul_cluster_quorum_state are 1; want one",
		}},
		"no state": {Samples{`consul_cluster_writes_state{state="committing"}`: 0}, []string{
			"0 states of consul_cluster_writes_state are 1; want one",
		}},
		"writes commit without a quorum": {
			lost.With(noRead).With(Samples{
				`consul_cluster_writes_state{state="committing"}`: 1, `consul_cluster_writes_state{state="unknown"}`: 0,
			}),
			[]string{"the quorum is lost, and writes commit"},
		},
		"who answers is lost": {Samples{`consul_cluster_voters_state{state="lost"}`: 1}, []string{
			"3 of 3 voters answer on port 8300, and 1 are lost",
		}},
		"who does not answer is lost": {Samples{
			`consul_cluster_voters_state{state="lost"}`:                                    1,
			`consul_port_up{port="8300",protocol="rpc",server="server-2",transport="tcp"}`: 0,
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := threeVoters().With(tc.change).Contradictions()
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("contradictions (-want +got):\n%s", diff)
			}
		})
	}
}
