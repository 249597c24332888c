#!/usr/bin/env bash
# Generates the man pages and shell completions, and checks them: groff and mandoc report no problem, and bash and zsh
# complete subcommands, flags and values.
set -euo pipefail

name=marketing-messages-exporter
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED $*" >&2; exit 1; }

export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
cargo run --quiet --locked --example man-and-completions -- "$work"

for page in "$work"/*.1; do
  problems=$(
    groff -man -ww -z -Tutf8 "$page" 2>&1
    # clap_mangen writes one `.br` too many in lists of possible values.
    mandoc -Tlint -Wwarning "$page" 2>&1 | grep -v "skipping paragraph macro: br" || true
  )
  [[ -z $problems ]] || fail "${page##*/}: $problems"
done
# An invalid page shows that the check works.
printf '.TH x 1\n.SH NAME\n.nonsense\n' >"$work/invalid"
! mandoc -Tlint -Wwarning "$work/invalid" >/dev/null || fail "mandoc accepts an invalid page"
mandoc -Tutf8 "$work/$name.1" | col -b >"$work/text"
for section in NAME SYNOPSIS OPTIONS FILES SIGNALS "EXIT STATUS" ENVIRONMENT EXAMPLES; do
  grep -qx "$section" "$work/text" || fail "no section $section"
done
while read -r page; do
  [[ -e $work/${page%"(1)"}.1 ]] || fail "$name(1) refers to $page, which does not exist"
done < <(grep -o "$name-[a-z]*(1)" "$work/text")
pages=("$work"/*.1)
echo "   ${#pages[@]} man pages: no problem found by groff and mandoc"

assert_offers() { # shell completions word
  grep -qx -- "$3.*" <<<"$2" || fail "$1 does not offer $3, but: ${2:0:400}"
}
complete_in_bash() { # word...: prints the completions of the last word
  # shellcheck disable=SC2016 # expanded by the inner shell
  bash --norc -c '
    source "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
    command=$(complete -p marketing-messages-exporter | sed -E "s/.*-F ([^ ]+).*/\1/")
    "$command" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf "%s\n" "${COMPREPLY[@]}"' _ "$work/$name.bash" "$name" "$@"
}
complete_in_zsh() { # line: prints the line after TAB
  ci/zsh_completion.py "$work" "$1"
}

assert_offers bash "$(complete_in_bash dis)" discover
assert_offers bash "$(complete_in_bash --web.sys)" --web.systemd-socket
assert_offers bash "$(complete_in_bash --log.level de)" debug
assert_offers bash "$(complete_in_bash check --l)" --live
touch "$work/a-config.yaml"
assert_offers bash "$(cd "$work" && complete_in_bash --config.file a-c)" a-config.yaml
[[ $(complete_in_zsh "$name dis") == "$name discover" ]] || fail "zsh does not complete a subcommand"
[[ $(complete_in_zsh "$name --log.level=deb") == "$name --log.level=debug" ]] || fail "zsh does not complete a value"
[[ $(complete_in_zsh "$name check --liv") == "$name check --live" ]] || fail "zsh does not complete a flag of a subcommand"
echo "   bash and zsh complete subcommands, flags and values"
