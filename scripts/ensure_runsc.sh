#!/usr/bin/env bash
# Make sure there is a runsc, gVisor's runtime, for the tests, which register it with a Docker Engine of their own.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/common.sh
. ./common.sh

! command -v runsc >/dev/null || exit 0
can_apt || stop_with "the tests need gVisor's runsc, and there is none." \
  "To cure: install it as in https://gvisor.dev/docs/user_guide/install/"
apt_install runsc
