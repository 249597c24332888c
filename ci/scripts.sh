#!/usr/bin/env bash
# Lints the shell and Python scripts of the repository, and the files of GitHub.
set -euo pipefail

python_folders=(ci tests benches grafana deploy prometheus)
shellcheck .ci/run ci/*.sh ci/release/*.sh deploy/debian/postinst deploy/debian/postrm
ruff check --config=ci/ruff.toml "${python_folders[@]}"
ruff format --check --config=ci/ruff.toml "${python_folders[@]}"

ci/release/version.py
# Offline: without the checks that request the newest versions of actions from GitHub.
zizmor --offline --no-progress --quiet .github
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature,question}.yml
