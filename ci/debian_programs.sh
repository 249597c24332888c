#!/usr/bin/env bash
# Unpacks the monitoring programs of one or more Debian suites below $CI_TOOLS/debian/SUITE, without installing them.
#
#   ci/debian_programs.sh bookworm testing
#
# The compatibility check runs several versions of the same program next to each other. Needs no root: apt works with
# its own lists and status. The programs link only against libc and libzstd. Debian's `testing` changes over time, which
# is intended: CI should notice incompatible new versions. `versions` in the folder of a suite lists what was unpacked.
set -euo pipefail

tools=${CI_TOOLS:?set CI_TOOLS to the folder of the tools}
packages=(prometheus promtool prometheus-alertmanager prometheus-node-exporter victoria-metrics)

# The archive and the keyring of this machine. Newer releases configure apt in deb822 format, older ones in one line.
archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
  grep -oE '(https?|mirror\+file)://?[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
if [[ -z $archive ]]; then
  archive=$(awk '/^URIs:/ && $2 ~ /debian\/?$/ { print $2; exit }' /etc/apt/sources.list.d/*.sources)
fi
[[ -n $archive ]] || { echo "no Debian archive in /etc/apt" >&2; exit 1; }

for suite; do
  folder=$tools/debian/$suite
  if [[ -e $folder/complete ]]; then continue; fi
  apt=$folder/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$folder/root" "$folder/packages"
  touch "$apt/status"
  : >"$folder/versions"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "root";
APT::Architectures { "$(dpkg --print-architecture)"; };
END
  export APT_CONFIG=$apt/apt.conf
  apt-get update -qq
  for package in "${packages[@]}"; do
    # Older suites lack some of the packages, and have promtool in the package of Prometheus.
    if apt-cache show "$package" >/dev/null 2>&1; then
      (cd "$folder/packages" && apt-get download -qq "$package")
    fi
  done
  for package in "$folder"/packages/*.deb; do
    dpkg-deb --extract "$package" "$folder/root"
    # shellcheck disable=SC2016 # expanded by dpkg-deb
    dpkg-deb --show --showformat='${Package} ${Version}\n' "$package" >>"$folder/versions"
  done
  rm -rf "$apt" "$folder/packages"
  touch "$folder/complete"
done
