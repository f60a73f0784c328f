# Shared by the ensure_*.sh scripts: one way to stop with a message, to become root and to install packages.
# shellcheck shell=bash

# One message, each argument a line: what is missing, then the cure.
stop_with() { printf 'chorus-nb: %s\n' "$@" >&2; exit 1; }

say() { printf 'chorus-nb: %s\n' "$*"; }

can_be_root() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# can_apt: whether apt_install can work here at all.
can_apt() { command -v apt-get >/dev/null && can_be_root; }

# apt_install PACKAGE...: quiet unless it fails. The package lists may be missing or older than the archive, hence
# the update and second try.
apt_install() {
  local log
  say "installing $* with apt-get"
  log=$(mktemp)
  if ! apt_try "$@" >"$log" 2>&1; then
    { as_root apt-get update -q && apt_try "$@"; } >"$log" 2>&1 || {
      tail -n 15 "$log" >&2
      stop_with "apt-get could not install $*; its last lines are above (all of them: $log)."
    }
  fi
  rm -f "$log"
}

apt_try() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null
}
