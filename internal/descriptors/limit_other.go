// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package descriptors

import "math"

// limit returns how many descriptors this process may have open: these systems have no limit of this kind.
func limit() uint64 { return math.MaxUint64 }
