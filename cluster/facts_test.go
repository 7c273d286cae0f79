// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Facts that are one answer of the agent: what they make of a good one, of a refusal, and of one that is no JSON.
func TestSnapshot_OneAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path, answer string
		read         func(context.Context, *Snapshot) (any, error)
		want         any
	}{
		{
			"/v1/session/list", `[{"ID":"a"},{"ID":"b"}]`,
			func(ctx context.Context, s *Snapshot) (any, error) { return s.Sessions().Get(ctx) }, 2,
		},
		{
			"/v1/catalog/nodes", `[{},{},{}]`,
			func(ctx context.Context, s *Snapshot) (any, error) { return s.CatalogNodes().Get(ctx) }, 3,
		},
		{
			"/v1/catalog/datacenters", `["dc1","dc2"]`,
			func(ctx context.Context, s *Snapshot) (any, error) { return s.Datacenters().Get(ctx) }, 2,
		},
		{
			"/v1/operator/license", `{"Valid":true,"License":{"expiration_time":"2027-01-02T03:04:05Z"}}`,
			func(ctx context.Context, s *Snapshot) (any, error) {
				license, err := s.License().Get(ctx)
				return license.Valid && license.License.ExpirationTime.Equal(time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)), err
			}, true,
		},
		{
			"/v1/kv/limits/", `[{"Key":"limits/count","Value":"NDI="},{"Key":"limits/word","Value":"eWVz"}]`,
			func(ctx context.Context, s *Snapshot) (any, error) { return s.KeyNumbers().Get(ctx) },
			[]KeyNumber{{"limits/count", 42}},
		},
		{
			"/v1/connect/ca/roots",
			`{"ActiveRootID":"a","Roots":[{"ID":"a","NotAfter":"2036-01-02T03:04:05Z"},{"ID":"b",
				"NotAfter":"2027-01-02T03:04:05Z"},{"ID":"c"}]}`,
			func(ctx context.Context, s *Snapshot) (any, error) { return s.MeshRoots().Get(ctx) },
			[]MeshRoot{
				{"a", true, time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)},
				{"b", false, time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)},
			},
		},
	} {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			ask := func(status int, body string) (any, error) {
				address := fakeAgent(t, map[string]http.HandlerFunc{tc.path: answer(status, body)})
				c := New(Options{
					Client: consul.Options{Address: address, Timeout: 5 * time.Second}, KVPrefix: "limits/",
				})
				t.Cleanup(c.Close)
				return tc.read(t.Context(), snapshot(t, c))
			}
			got, err := ask(http.StatusOK, tc.answer)
			if diff := cmp.Diff(fmt.Sprint(tc.want), fmt.Sprint(got)); err != nil || diff != "" {
				t.Errorf("error %v, differs (-want +got):\n%s", err, diff)
			}
			_, err = ask(http.StatusForbidden, "Permission denied")
			if !errors.Is(err, consul.ErrRefused) || !consul.IsDenied(err) {
				t.Errorf("status 403 is the error %v; want ErrRefused, for want of rights", err)
			}
			if _, err := ask(http.StatusOK, "{["); err == nil || errors.Is(err, consul.ErrRefused) {
				t.Errorf("what is no JSON is the error %v; want one other than ErrRefused", err)
			}
		})
	}
}
