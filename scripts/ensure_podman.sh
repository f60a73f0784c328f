#!/usr/bin/env bash
# Make sure there is a Podman for the tests, which run a service of their own: what holds of the Docker Engine must hold
# of it. Nothing is started here.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/common.sh
. ./common.sh

has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

# Podman starts crun or runc, but the crun of Debian 12 does not start where both versions of cgroups are mounted; and
# catatonit is the init of containers that ask for one.
! { has podman && has runc && has catatonit; } || exit 0
can_apt || stop_with "the tests need Podman, as root, and there is none." \
  "To cure: install podman, runc and catatonit, as in https://podman.io/docs/installation"
apt_install podman runc catatonit
