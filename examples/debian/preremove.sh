#!/bin/sh
# Before the package is removed, but not before it is upgraded.
set -e
[ "$1" = remove ] || exit 0
systemctl disable --quiet consul_cluster_exporter.service
if [ -d /run/systemd/system ]; then
  systemctl stop consul_cluster_exporter.service
fi
