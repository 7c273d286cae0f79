// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package files

// nonblocking is nothing here: these systems have no pipes among their files.
const nonblocking = 0
