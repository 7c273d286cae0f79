// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"regexp"
	"slices"
	"strconv"
)

// VersionBefore reports whether a version of Consul, like "1.22.5" or "1.22.0+ent", is an earlier one; ok is false if
// it cannot be told.
func VersionBefore(text string, version [3]int) (earlier, ok bool) {
	numbers := versionNumbers.FindStringSubmatch(text)
	if numbers == nil {
		return false, false
	}
	var v [3]int
	for i := range v {
		v[i], _ = strconv.Atoi(numbers[i+1]) // No more than nine digits.
	}
	return slices.Compare(v[:], version[:]) < 0, true
}

// versionNumbers are those of a version.
var versionNumbers = regexp.MustCompile(`^(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:\D|$)`)
