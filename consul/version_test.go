// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import "testing"

func TestVersionBefore(t *testing.T) {
	t.Parallel()
	for text, version := range map[string][3]int{
		"1.22.5": {1, 22, 5}, "1.16.1+ent": {1, 16, 1}, "1.17.0-rc1": {1, 17, 0}, "1.9.10dev": {1, 9, 10},
		"": {}, "1.22": {}, "v1.2.3": {}, "1.2.99999999999": {}, "a.b.c": {},
	} {
		known, next := version != [3]int{}, version
		next[2]++
		if earlier, ok := VersionBefore(text, version); earlier || ok != known {
			t.Errorf("%q is before %v: %v, %v; want false, %v", text, version, earlier, ok, known)
		}
		if earlier, ok := VersionBefore(text, next); earlier != known || ok != known {
			t.Errorf("%q is before %v: %v, %v; want %v", text, next, earlier, ok, known)
		}
	}
}
