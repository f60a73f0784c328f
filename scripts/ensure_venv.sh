#!/usr/bin/env bash
# Make .venv with the package and its kernel installed in it, editable: ensure_venv.sh EXTRA, where EXTRA is test or dev.
# A stamp records what was installed, so that a second run takes no time.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
. scripts/common.sh

readonly EXTRA=${1:?usage: ensure_venv.sh test|dev}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if is_new_enough "$name"; then command -v "$name"; return; fi
  done
  stop_with "no Python 3.11 or later on PATH (python3 is: $(python3 --version 2>&1 | head -n 1))." \
    "To cure: sudo apt-get install -y python3.11-venv, or put one from https://www.python.org/downloads/ on PATH."
}

# Debian and Ubuntu split venv's ensurepip off into a package of its own.
need_ensurepip() {
  local package
  "$1" -c 'import ensurepip' 2>/dev/null && return
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  can_apt || stop_with "$1 cannot make virtual environments: its ensurepip is missing." \
    "To cure: sudo apt-get install -y $package"
  apt_install "$package"
}

make_venv() {
  local python
  python=$(find_python)
  need_ensurepip "$python"
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
}

# Not half made, its Python still there, and not copied or moved from elsewhere: its scripts hold its path.
is_usable() {
  .venv/bin/python -m pip --version >/dev/null 2>&1 && head -n 3 .venv/bin/pip | grep -qF "$PWD/.venv/bin/"
}

# What an installation depends on: what we ask for, and where we are.
fingerprint() { { cat pyproject.toml; pwd; } | sha256sum | cut -d ' ' -f 1; }

is_stamped() { [ "$(cat ".venv/.installed-$1" 2>/dev/null)" = "$(fingerprint)" ] && .venv/bin/python -c ''; }

is_stamped "$EXTRA" && exit 0
is_usable || make_venv
say "installing the package and its $EXTRA extra into .venv (a minute or two the first time)"
.venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --editable ".[$EXTRA]"
.venv/bin/chorus-nb kernel install --sys-prefix >/dev/null
fingerprint >".venv/.installed-$EXTRA"
# dev contains test.
[ "$EXTRA" != dev ] || fingerprint >.venv/.installed-test
