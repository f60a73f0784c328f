#!/usr/bin/env bash
# Make sure the browser tests find a Chromium: the one CHROMIUM names, else one on PATH, else Debian's package.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/common.sh
. ./common.sh

if [ -n "${CHROMIUM:-}" ]; then
  [ -x "$CHROMIUM" ] || stop_with "CHROMIUM names $CHROMIUM, which is not an executable file." "To cure: unset CHROMIUM"
  exit 0
fi
for name in chromium chromium-browser google-chrome; do
  ! command -v "$name" >/dev/null || exit 0
done
# Ubuntu's chromium package only installs a snap, which needs snapd and cannot see folders such as /tmp.
if grep -qs '^ID=debian$' /etc/os-release && can_apt; then
  apt_install chromium
  exit 0
fi
stop_with "the browser tests need Chromium or Google Chrome, and none is on PATH." \
  "To cure: sudo apt-get install -y chromium (Debian), or install Google Chrome (Ubuntu), or CHROMIUM=/path/to/it make test"
