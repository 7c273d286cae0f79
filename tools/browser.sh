#!/usr/bin/env bash
# SPDX-FileCopyrightText: The consul_cluster_exporter authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs what `make test-browser` needs, unless it is there: Chromium, and npm to get axe-core, from Debian's packages,
# and axe-core, which checks accessibility, from npm's into the user's cache. Prints the path of axe-core.
set -euo pipefail

axe=axe-core-4.14.1
axe_sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745

fail() {
  echo "browser: $*" >&2
  exit 1
}

# need COMMAND PACKAGE...: installs the packages, unless there is the command.
need() {
  local command=$1 sudo=()
  shift
  command -v "$command" >/dev/null && return
  command -v apt-get >/dev/null || fail "there is no $command: install it, under this name"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "there is no $command: run this as root, or install sudo"
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -q >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >&2
}

need chromium chromium fonts-dejavu-core
home=${XDG_CACHE_HOME:-$HOME/.cache}/consul_cluster_exporter/tools/$axe
if [ ! -f "$home/axe.min.js" ]; then
  need npm npm
  new=$(mktemp -d)
  trap 'rm -rf "$new"' EXIT
  (cd "$new" && npm pack --silent "axe-core@${axe#axe-core-}" >&2)
  echo "$axe_sha256  $new/$axe.tgz" | sha256sum --check --quiet >&2 || fail "$axe is not the one that is expected"
  mkdir -p "$home"
  tar -xzf "$new/$axe.tgz" -C "$new" package/axe.min.js
  mv "$new/package/axe.min.js" "$home"
fi
echo "$home/axe.min.js"
