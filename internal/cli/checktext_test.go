// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	_ "embed"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
)

//go:embed testdata/check.json
var checkJSON []byte

//go:embed testdata/check.txt
var checkText string

// What a real cluster does not show at once: names of any alphabet and with escape sequences, ports that were only
// connected to or not asked, other numbers on one server, errors that are long, and an agent that is not a server.
func TestPrintStatus(t *testing.T) {
	t.Parallel()
	var v status.View
	must.Do(t, json.Unmarshal(checkJSON, &v))
	var b strings.Builder
	must.Do(t, printStatus(&b, &v))
	if diff := cmp.Diff(checkText, b.String()); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
}

// JSON for a terminal has no character that it would obey, and is the same JSON.
func TestPrintJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	must.Do(t, printJSON(&b, map[string]string{"name": "a\x1b\u009b\u202e\U000e0041<é"}))
	if want := "{\n  \"name\": \"a\\u001b\\u009b\\u202e\\udb40\\udc41\\u003cé\"\n}\n"; b.String() != want {
		t.Errorf("got %q; want %q", b.String(), want)
	}
}
