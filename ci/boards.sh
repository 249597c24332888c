#!/usr/bin/env bash
# Checks dashboards and alerts with the real programs: rules and their tests, the Alertmanager example, every dashboard
# query against a Prometheus that scrapes the demo, and the path of alerts from the exporter to a webhook.
# Takes one to two minutes once the exporter is built.
#
# EXPORTER is the path of a built exporter; by default a release build is made. All programs listen on loopback, and the
# script ends only the processes that it started.
set -euo pipefail
cd "$(dirname "$0")/.."

section() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAIL %s\n' "$*" >&2; exit 1; }

packages=()
command -v prometheus promtool >/dev/null || packages+=(prometheus)
command -v prometheus-alertmanager amtool >/dev/null || packages+=(prometheus-alertmanager)
command -v curl >/dev/null || packages+=(curl)
if ((${#packages[@]})); then
  section "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"
fi

section "dashboards match the output of grafana/generate.py"
python3 grafana/generate.py --check

section "rules match the output of prometheus/generate.py"
python3 prometheus/generate.py --check

section "rules"
promtool check rules prometheus/rules.yaml
promtool check config --syntax-only prometheus/prometheus.yaml
promtool test rules prometheus/*.test.yaml

section "queries of the boards, for data of different shapes"
ci/board_shapes.py

section "routes"
amtool check-config prometheus/alertmanager.yaml
assert_route() { # receiver label...
  local receiver=$1 actual; shift
  actual=$(amtool config routes test --config.file=prometheus/alertmanager.yaml "$@" 2>/dev/null)
  [ "$actual" = "$receiver" ] || fail "$* is routed to $actual instead of $receiver"
}
for name in SpendAboveThreshold RoasBelowThreshold CostPerPurchaseHigh CostPerLinkClickHigh ReadRatioBelowThreshold \
  SpendWithoutPurchases LimitNotJudged PurchasesStopped DeliveryStalled BudgetPaceHigh SpendUnusual RoasUnusual \
  CampaignHasIssues AdAccountNotActive SpendCapNear; do
  for severity in critical warning info; do
    assert_route growth "alertname=MarketingMessages$name" "severity=$severity" team=growth business=acme
    assert_route retention "alertname=MarketingMessages$name" "severity=$severity" team=retention business=acme
    assert_route marketing "alertname=MarketingMessages$name" "severity=$severity" team=brand business=acme
    assert_route marketing "alertname=MarketingMessages$name" "severity=$severity" business=acme
  done
done
for name in ExporterDown MetaUnreachable ShardMissing DataStale PollsFailing DiscoveryFailing CampaignsVanished TokenInvalid \
  CredentialsUnreadable TokenExpiresSoon ApiQuotaHigh ApiErrorRateHigh ApiVersionRetiring FieldRejected \
  ConfigReloadFailed WebConfigReloadFailed StateNotWritten TlsCertExpiresSoon; do
  # Whatever labels the config sets.
  assert_route operations "alertname=MarketingMessages$name" severity=critical team=growth business=acme
  assert_route operations "alertname=MarketingMessages$name" severity=warning
done
assert_route watchdog alertname=MarketingMessagesWatchdog severity=none

section "the commented receivers of alertmanager.yaml are valid"
uncommented=$(mktemp)
sed -E 's/^    # (\w+_configs:)/    \1/' prometheus/alertmanager.yaml >"$uncommented"
grep -q '^    email_configs' "$uncommented"
amtool check-config "$uncommented"
rm "$uncommented"

if [ -z "${EXPORTER:-}" ]; then
  section "building the exporter"
  cargo build --release --locked
  EXPORTER=${CARGO_TARGET_DIR:-target}/release/marketing-messages-exporter
fi

work=$(mktemp -d)
pids=()
cleanup() {
  if ((${#pids[@]})); then kill "${pids[@]}" 2>/dev/null || true; fi
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

track() { pids+=("$!"); } # the last background process
wait_until() { # seconds description command...
  local end=$((SECONDS + $1)) description=$2; shift 2
  until "$@"; do
    ((SECONDS < end)) || { tail -n 20 "$work"/*.log "$work"/alerts >&2 || true; fail "timed out: $description"; }
    sleep 0.5
  done
}
free_ports() {
  python3 - "$1" <<'PY'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))
PY
}
responds() { curl -fsS -o "$work/response" --max-time 2 "$1" 2>/dev/null; }
has_result() { # query
  promtool query instant "http://127.0.0.1:$prometheus_port" "$1" 2>/dev/null | grep -q .
}
was_notified() { # receiver alertname pattern
  grep "\"receiver\": \"$1\", \"status\": \"firing\"" "$work/alerts" | grep "\"alertname\": \"$2\"" | grep -q "$3"
}

section "demo, Prometheus, Alertmanager and webhook"
read -r exporter_port prometheus_port alertmanager_port < <(free_ports 3)
start_demo() { # flag...
  "$EXPORTER" demo --web.listen-address="127.0.0.1:$exporter_port" "$@" >"$work/demo.log" 2>&1 &
  track
  wait_until 30 "the demo is ready" responds "http://127.0.0.1:$exporter_port/-/ready"
}
start_demo

ci/alert_sink.py >"$work/alerts" &
track
wait_until 10 "the webhook listens" test -s "$work/alerts"
webhook=$(head -n 1 "$work/alerts")

# The shipped files, with addresses of this run and intervals of one second instead of minutes.
sed -E -e "s#^  - name: (\w+)#&\n    webhook_configs: [{ url: 'http://127.0.0.1:$webhook/\1' }]#" \
  -e 's/(group_wait|group_interval): \w+/\1: 1s/' prometheus/alertmanager.yaml >"$work/alertmanager.yaml"
sed -E -e 's/^( +(for|interval)): \w+/\1: 1s/' -e '/^ +keep_firing_for:/d' prometheus/rules.yaml >"$work/rules.yaml"
sed -E -e 's/(scrape_interval|evaluation_interval): \w+/\1: 1s/' -e "s/alertmanager:9093/127.0.0.1:$alertmanager_port/" \
  -e "s/exporter:10919/127.0.0.1:$exporter_port/" prometheus/prometheus.yaml >"$work/prometheus.yaml"
promtool check config "$work/prometheus.yaml"
amtool check-config "$work/alertmanager.yaml" >/dev/null

# An empty cluster address disables gossip, which would listen on every interface.
prometheus-alertmanager --config.file="$work/alertmanager.yaml" --storage.path="$work/alertmanager" \
  --web.listen-address="127.0.0.1:$alertmanager_port" --cluster.listen-address= >"$work/alertmanager.log" 2>&1 &
track
prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/tsdb" --log.level=warn \
  --web.listen-address="127.0.0.1:$prometheus_port" --web.external-url="http://127.0.0.1:$prometheus_port/" \
  >"$work/prometheus.log" 2>&1 &
track
wait_until 30 "Alertmanager is ready" responds "http://127.0.0.1:$alertmanager_port/-/ready"
wait_until 30 "Prometheus is ready" responds "http://127.0.0.1:$prometheus_port/-/ready"
wait_until 60 "recording rules have results" has_result 'row:marketing_messages_spend:latest'
wait_until 60 "rates have results" has_result 'rate(marketing_messages_exporter_polls_total[1m]) > 0'
# The longest polling interval of the demo's windows.
sleep 10

section "every dashboard query"
ci/query_dashboards.py "http://127.0.0.1:$prometheus_port" grafana/dashboards/*.json
python3 - "http://127.0.0.1:$prometheus_port" <<'PY'
import json, sys, urllib.request
groups = json.load(urllib.request.urlopen(sys.argv[1] + "/api/v1/rules"))["data"]["groups"]
broken = [f"{r['name']}: {r.get('lastError')}" for g in groups for r in g["rules"] if r["health"] != "ok"]
sys.exit("\n".join(broken) if broken else 0)
PY

section "totals of the boards equal the page"
ci/board_totals.py "http://127.0.0.1:$prometheus_port"

section "one cause is one notification"
ci/alert_inhibition.py "http://127.0.0.1:$alertmanager_port"

section "a campaign alert reaches its team"
wait_until 30 "growth is notified of a campaign above its spend limit" \
  was_notified growth MarketingMessagesSpendAboveThreshold '"campaign_name": "Clearance: last sizes".*"team": "growth".*"runbook_url"'

section "an exporter alert reaches operations"
{ kill "${pids[0]}" && wait "${pids[0]}"; } || true
unset 'pids[0]'
start_demo --fault 'denied@business:aurora'
wait_until 60 "operations is notified of the refused token" \
  was_notified operations MarketingMessagesTokenInvalid '"business": "aurora"'
! was_notified operations MarketingMessagesTokenInvalid '"business": "nordlicht"' ||
  fail "TokenInvalid fires for nordlicht, which has a valid token"
grep -h '"TokenInvalid\|MarketingMessagesTokenInvalid"' "$work/alerts" | head -n 1

section "all checks passed"
