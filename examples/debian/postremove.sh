#!/bin/sh
# After the package is removed.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
