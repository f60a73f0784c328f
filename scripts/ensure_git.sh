#!/usr/bin/env bash
# Make sure there is git, with its server for HTTP: the tests compare with it, and run it inside sandboxes.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/common.sh
. ./common.sh

! { command -v git >/dev/null && [ -x "$(git --exec-path)/git-http-backend" ]; } || exit 0
can_apt || stop_with "the tests need git, as root, and there is none." \
  "To cure: install git, as in https://git-scm.com/downloads"
apt_install git
