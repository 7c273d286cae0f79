// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package terminal writes texts and tables for people, aligned whatever alphabet the names in them are of, and in
// colours where there is somebody to see them. Texts may come from anywhere: what could move the cursor or change the
// terminal is written as an escape sequence that can be read.
package terminal
