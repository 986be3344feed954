#!/usr/bin/env bash
# Installs Chromium from Debian's package index, for `make test-browser`. Needs root.
set -euo pipefail
command -v chromium > /dev/null && exit 0
if [ "$(id -u)" != 0 ]; then
  echo "chromium is missing, and installing it needs root: run scripts/install_browser.sh as root" >&2
  exit 1
fi
apt-get update
apt-get install --yes --no-install-recommends chromium
