#!/bin/sh
# After the package is installed or upgraded. As Debian's own services do, this one starts at once and at every boot.
set -e
[ "$1" = configure ] || exit 0
if [ -z "$2" ]; then # No version was installed before.
  systemctl enable --quiet consul_cluster_exporter.service
fi
if [ -d /run/systemd/system ]; then # And not while an image is built.
  systemctl daemon-reload
  if [ -z "$2" ]; then
    systemctl start consul_cluster_exporter.service
  else
    systemctl try-restart consul_cluster_exporter.service
  fi
fi
