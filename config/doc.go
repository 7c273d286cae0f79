// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package config holds what is needed to watch a cluster, and reads it from a file for many of them.
//
//   - A [Module] is that as someone has written it: in the configuration file, or with flags, which fill a Module as
//     well, so that there is one way from words to a cluster.Cluster.
//   - A [ValidModule] can only come from [Module.Validate]: its words have a meaning and its files could be read. It
//     makes the cluster.Options for an address.
//   - A [Target] can only come from [ValidModule.Target]: it is on the module's list of targets, and so is every host
//     that its Options let the exporter talk to.
//   - A [File] is a configuration file with modules by name, and can be reloaded while they are in use.
//
// docs/config.example.yml documents every key. Passwords, tokens and keys are in files of their own, and none of them
// is ever part of an error.
package config
