#!/usr/bin/env bash
# Make sure a Docker Engine answers: sandboxes need one, and a fresh machine has none.
# Does nothing when one answers. Otherwise installs the distribution's package and starts the daemon, which needs
# Debian or Ubuntu, and root or sudo without a password. Where that is not given, says what is missing and the cure.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/common.sh
. ./common.sh

readonly LOCAL_ENDPOINT=unix:///var/run/docker.sock
readonly LOG=/var/log/chorus-nb-dockerd.log
readonly START_TIMEOUT_S=60

# Sets ENDPOINT and STATE: 0 answers, 3 nothing answers, 4 no permission on the socket.
probe() { STATE=0; ENDPOINT=$(python3 engine_probe.py) || STATE=$?; }

refuse_no_permission() {
  stop_with "a Docker Engine is there, but user $(id -un 2>/dev/null || id -u) may not use its socket ($ENDPOINT)." \
    "To cure: sudo usermod -aG docker \$USER    then log out and in again."
}

refuse_no_engine() { stop_with "no Docker Engine answers at $ENDPOINT$1" "To cure: $2"; }

install_engine() {
  PATH=$PATH:/usr/sbin:/sbin command -v dockerd >/dev/null || apt_install docker.io iptables
}

start_daemon() {
  say "starting the Docker Engine"
  if [ -d /run/systemd/system ]; then
    as_root systemctl start docker
  else
    as_root python3 start_dockerd.py "$LOG"
  fi
}

wait_for_daemon() {
  local deadline=$((SECONDS + START_TIMEOUT_S))
  while probe; [ "$STATE" -eq 3 ]; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      show_log >&2
      stop_with "the Docker Engine did not answer within $START_TIMEOUT_S s; its last log lines are above."
    fi
    sleep 0.2
  done
}

show_log() {
  if [ -d /run/systemd/system ]; then
    as_root journalctl -u docker -n 15 --no-pager
  else
    as_root tail -n 15 "$LOG"
  fi
}

probe
case $STATE in
  0) exit 0 ;;
  4) refuse_no_permission ;;
esac
[ "$ENDPOINT" = "$LOCAL_ENDPOINT" ] || refuse_no_engine ", which DOCKER_HOST or the docker context names." \
  "start that engine, or go back to the local one with: unset DOCKER_HOST DOCKER_CONTEXT; docker context use default"
command -v apt-get >/dev/null || refuse_no_engine ", and this is no Debian or Ubuntu." \
  "install one as in https://docs.docker.com/engine/install/ and start it."
can_be_root || refuse_no_engine ", and to install and start one needs root." \
  "sudo scripts/ensure_engine.sh && sudo usermod -aG docker \$USER    then log out and in again."
install_engine
start_daemon
wait_for_daemon
[ "$STATE" -eq 0 ] || refuse_no_permission
say "a Docker Engine answers at $ENDPOINT"
