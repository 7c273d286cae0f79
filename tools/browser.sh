#!/usr/bin/env bash
# SPDX-FileCopyrightText: The consul_cluster_exporter authors
# SPDX-License-Identifier: Apache-2.0
#
# Installs Chromium from Debian's packages, unless there is one. `make test-browser` runs it.
set -euo pipefail

command -v chromium >/dev/null && exit 0

fail() {
  echo "browser: $*" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "there is no chromium: install it, under this name"
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || fail "there is no chromium: run this as root, or install sudo"
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -q
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core
