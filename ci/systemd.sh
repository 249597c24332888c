#!/usr/bin/env bash
# Checks the systemd units: `systemd-analyze verify` finds no problem, the exposure level is below 2.0 of 10, and the
# exporter serves on a socket that systemd-socket-activate opened.
set -euo pipefail

units=deploy/systemd
name=marketing-messages-exporter
exporter=${CARGO_TARGET_DIR:-target}/release/$name
work=$(mktemp -d)
pid=
trap '[[ -z $pid ]] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }; rm -rf "$work"' EXIT
fail() { echo "FAILED $*" >&2; exit 1; }

# The unit of the threshold is a tenth.
systemd-analyze security --offline=true --no-pager --threshold=20 "$units/$name.service"

# The exit status of `verify` is ignored: unknown and invalid settings are only printed.
verify() { # file...
  systemd-analyze verify --man=no --recursive-errors=no "$@" 2>&1 || true
}
# `verify` requires that the executable exists, so the copies name the release build.
for kind in service socket; do
  sed "s#/usr/bin/$name#$(realpath "$exporter")#" "$units/$name.$kind" >"$work/$name.$kind"
done
problems=$(verify "$work/$name.service" "$work/$name.socket")
[[ -z $problems ]] || fail "systemd-analyze verify: $problems"
# An invalid unit shows that the check works.
sed 's/^ProtectClock=.*/ProtectClocks=maybe/' "$work/$name.service" >"$work/invalid.service"
grep -q ProtectClocks <<<"$(verify "$work/invalid.service")" || fail "systemd-analyze verify accepts an unknown setting"
echo "   systemd-analyze verify: no problem in the units, and an unknown setting is reported"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
systemd-socket-activate --fdname=metrics --listen="127.0.0.1:$port" \
  "$exporter" demo --web.systemd-socket >"$work/out" 2>"$work/err" &
pid=$!
# The first connection starts the exporter and waits in the socket's queue until the exporter accepts it.
for _ in {1..100}; do
  sleep 0.1
  ! grep -q Listening "$work/err" || break
done
curl -sS --fail --noproxy '*' --max-time 20 "http://127.0.0.1:$port/-/healthy" || fail "$(cat "$work/err")"
grep -q "exporter=http://127.0.0.1:$port/" "$work/out" || fail "$(cat "$work/out")"
kill -TERM "$pid"
wait "$pid" || fail "exit status $? after SIGTERM"
pid=
echo "   the exporter serves on a socket of systemd-socket-activate"
