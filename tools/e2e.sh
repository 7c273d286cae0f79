#!/usr/bin/env bash
# SPDX-FileCopyrightText: The consul_cluster_exporter authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs a program in a network namespace of its own, in which there is nothing but a loopback interface:
#
#   tools/e2e.sh PROGRAM [ARGUMENT...]
#
# The program runs as root and may change the packet filter, which is that of the namespace. When it ends, however it
# ends, the namespace is deleted and what it has left running in there is killed. E2E_OUTSIDE_NETNS tells the program which
# namespace it is not in. `make e2e` runs the tests that need this.
set -euo pipefail

fail() {
  echo "e2e: $*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail "network namespaces exist on Linux only"
[ $# -gt 0 ] || fail "usage: tools/e2e.sh PROGRAM [ARGUMENT...]"
PATH=$PATH:/usr/sbin:/sbin

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || fail "making a network namespace takes root: run 'make e2e' as root, or install sudo"
  sudo=(sudo)
fi

if ! command -v ip >/dev/null || ! command -v nft >/dev/null || ! command -v strace >/dev/null; then
  command -v apt-get >/dev/null || fail "ip, nft or strace is missing: install iproute2, nftables and strace"
  {
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends iproute2 nftables strace
  } >&2 || fail "ip, nft or strace is missing, and apt-get cannot install iproute2, nftables and strace"
fi

namespace=consul-e2e-$$-$RANDOM
"${sudo[@]}" ip netns add "$namespace" ||
  fail "this user may not make a network namespace; in a container that takes the capabilities SYS_ADMIN and NET_ADMIN"

cleanup() {
  for pid in $("${sudo[@]}" ip netns pids "$namespace"); do
    "${sudo[@]}" kill -KILL "$pid" 2>/dev/null || true # It may just have ended.
  done
  "${sudo[@]}" ip netns delete "$namespace"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 131' QUIT
trap 'exit 143' TERM

"${sudo[@]}" ip -n "$namespace" link set lo up
export E2E_OUTSIDE_NETNS
E2E_OUTSIDE_NETNS=$(readlink /proc/self/ns/net)
mapfile -d '' environment < <(env -0) # Of which sudo would keep but little.
# In the background, because the shell acts on a signal in wait, but not while it runs a command.
"${sudo[@]}" ip netns exec "$namespace" env "${environment[@]}" "$@" &
wait $!
