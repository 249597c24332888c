#!/usr/bin/env bash
# Installs the missing tools of the other steps: Debian packages with apt, Python packages in a virtual
# environment below $CI_TOOLS, and cargo-deb.
set -euo pipefail

# A command that shows that the package is installed, and the name of the package.
required=(
  "cc gcc"
  "chromedriver chromium-driver"
  "chromium chromium"
  "curl curl"
  "git git"
  "gunzip gzip"
  "python3 python3"
  "wget wget"
  "promtool prometheus"
  "systemd-analyze systemd"
  "groff groff-base"
  "col bsdextrautils"
  "mandoc mandoc"
  "zsh zsh"
  "dpkg-deb dpkg"
  "shellcheck shellcheck"
  "lintian lintian"
  "skopeo skopeo"
  "umoci umoci"
  "c++ g++"
)

missing=()
for entry in "${required[@]}"; do
  read -r command package <<<"$entry"
  command -v "$command" >/dev/null || missing+=("$package")
done
command -v cc >/dev/null || missing+=(libc6-dev)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if ((${#missing[@]})); then
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "missing packages: ${missing[*]}; install them, or run this step as root on Debian" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  # Forbids packages to start their daemons: the steps start the programs that they need.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if [[ ! -x $CI_TOOLS/venv/bin/pip ]]; then
  python3 -m venv "$CI_TOOLS/venv"
fi
"$CI_TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check --requirement ci/requirements.txt

# Compiling it takes about two minutes; once it is installed, cargo does nothing.
cargo install --quiet --locked --root "$CI_TOOLS/cargo" --version 3.8.0 cargo-deb

rustc --version
cargo --version
prometheus --version 2>&1 | head -n 1
"$CI_TOOLS/venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep facebook
