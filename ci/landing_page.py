#!/usr/bin/env python3
"""Checks the landing page in a browser, in phone and desktop size, with the light and the dark colour scheme.

The console must be empty and the page must load nothing else. No element is wider than the window, texts have a
contrast of at least 4.5, and the Tab key reaches every link. Problems are described in words. The page reloads itself
and keeps the scroll position. Texts from configs and from the API are escaped. If the environment variable
LANDING_PICTURES names a folder, screenshots are saved there.
"""

import json
import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from browser import start_browser
from processes import exporter_path, fetch, fetch_text, require, run_check, spawn, start_demo, step, wait_until

VIEWPORTS = [(width, height, dark) for width, height in ((360, 740), (1280, 800)) for dark in (False, True)]

# One business with a refused token, one with a nearly exhausted quota, and one above the configured quota share.
FAULT_FLAGS = [
    "--fault=denied=463@business:kereru",
    "--fault=usage=112;header=ad-account-usage@business:hinode",
    "--fault=usage=83;header=ad-account-usage@business:nordlicht",
]

# Used as the name of a business and as a path, which is repeated in an error message.
HOSTILE_TEXT = "</title></style><img src=x onerror=document.title=1><script>document.title='evil'</script>'\"&"

# Returns problems of layout, contrast (WCAG AA: at least 4.5), document structure and accessibility.
LAYOUT_SCRIPT = r"""
const problems = [];
const root = document.documentElement;
if (root.scrollWidth > innerWidth)
  problems.push(`the page is ${root.scrollWidth} px wide in a window of ${innerWidth} px`);

const channels = color => {
  const numbers = color.match(/[\d.]+/g).map(Number);
  return [...numbers.slice(0, 3), numbers.length > 3 ? numbers[3] : 1];
};
const luminance = color => {
  const [r, g, b] = color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = element => {
  for (; element; element = element.parentElement) {
    const [r, g, b, alpha] = channels(getComputedStyle(element).backgroundColor);
    if (alpha === 1) return [r, g, b];
    if (alpha !== 0) problems.push(`translucent background of ${element.tagName}`);
  }
  return [255, 255, 255];
};
let texts = 0, lowest = 99;
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
  texts += 1;
  const foreground = luminance(channels(getComputedStyle(element).color).slice(0, 3));
  const [light, dark] = [foreground, luminance(background(element))].sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  lowest = Math.min(lowest, contrast);
  if (contrast < 4.5) problems.push(`contrast ${contrast.toFixed(2)}: ${walk.currentNode.data.trim()}`);
  const box = element.getBoundingClientRect();
  if (box.right > innerWidth + 1) problems.push(`outside the window: ${walk.currentNode.data.trim()}`);
}

let level = 0;
for (const heading of document.querySelectorAll('h1,h2,h3,h4,h5,h6')) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) problems.push(`${heading.tagName} after H${level}: ${heading.textContent}`);
  level = next;
}
if (document.querySelectorAll('h1').length !== 1) problems.push('expected exactly one h1');
for (const landmark of ['header', 'nav', 'main', 'footer'])
  if (document.querySelectorAll(landmark).length !== 1) problems.push(`expected exactly one ${landmark}`);
for (const table of document.querySelectorAll('table')) {
  if (!table.caption?.textContent) problems.push('a table has no caption');
  for (const head of table.querySelectorAll('th'))
    if (!head.scope) problems.push(`${head.textContent} has no scope`);
}
for (const state of document.querySelectorAll('td.up,td.down,td.not-polled'))
  if (!/up|down|not polled/.test(state.textContent)) problems.push('a state is shown only by its colour');
for (const input of document.querySelectorAll('input'))
  if (!input.labels.length) problems.push('an input has no label');
if (!document.documentElement.lang) problems.push('the html element has no lang');
if (document.querySelector('[style],script,iframe,object,embed,img'))
  problems.push('a forbidden element or attribute: style, script, iframe, object, embed or img');
const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
if (new Set(ids).size !== ids.length) problems.push('duplicate id');
return {problems, texts, lowest, dark: matchMedia('(prefers-color-scheme: dark)').matches};
"""

# Returns the position of the focused element among all focusable ones, and whether the focus is visible.
FOCUS_SCRIPT = """
const focused = document.activeElement;
if (!focused || focused === document.body) return null;
const all = [...document.querySelectorAll('a[href],summary,input,button')].filter(one => one.checkVisibility());
const visible = getComputedStyle(focused).outlineStyle !== 'none' && focused.matches(':focus-visible');
return {position: all.indexOf(focused), total: all.length, visible};
"""


def check():
    with start_browser() as window:
        with start_demo(*FAULT_FLAGS) as process:
            base = process.read_value("exporter")
            wait_until(lambda: status_with_problems(base), 40, "all three problems are in /api/status")
            check_layout(window, base)
            check_problem_texts(window, base)
            check_keyboard_order(window, base)
            check_folding(window, base)
            check_refresh(window, base)
        check_escaping(window)


def status_with_problems(base):
    """Returns /api/status if it has all problems of `FAULT_FLAGS`, otherwise None."""
    status = json.loads(fetch_text(base + "api/status"))
    problems = {one["name"]: one["problems"] for one in status["businesses"]}
    expected = [("kereru", "token_refused"), ("hinode", "quota_nearly_spent"), ("nordlicht", "quota_above_share")]
    return status if all(problem in problems[name] for name, problem in expected) else None


def count_quotas(base):
    return sum(len(one["quotas"]) for one in status_with_problems(base)["businesses"])


def check_layout(window, base):
    for width, height, dark in VIEWPORTS:
        viewport = f"{width}×{height}, {'dark' if dark else 'light'}"
        with step(f"layout and contrast: {viewport}") as note:
            window.set_viewport(width, height, dark)
            window.open(base)
            found = window.js(LAYOUT_SCRIPT)
            require(found["dark"] == dark, "the browser ignores the colour scheme")
            require(found["texts"] > 100, f"{found['texts']} texts, expected more than 100")
            require(not found["problems"], "; ".join(found["problems"][:5]))
            note(f"{found['texts']} texts, lowest contrast {found['lowest']:.1f}")
            save_screenshot(window, f"{width}-{'dark' if dark else 'light'}")
            # Again with all sections expanded.
            window.js("document.querySelectorAll('details').forEach(one => one.open = true)")
            found = window.js(LAYOUT_SCRIPT)
            require(not found["problems"], "; ".join(found["problems"][:5]))
            check_no_requests(window, base)


def save_screenshot(window, name):
    """Saves a screenshot if LANDING_PICTURES is set."""
    folder = os.environ.get("LANDING_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"landing-{name}.png").write_bytes(window.screenshot())


def check_no_requests(window, base):
    """Checks that the console is empty and that only the page itself was requested."""
    console = [event["message"] for event in window.events("browser")]
    require(not console, f"console messages: {console}")
    requested = set()
    for event in window.events("performance"):
        message = json.loads(event["message"])["message"]
        require(message["method"] != "Audits.issueAdded", f"the browser reports an issue: {message}")
        if message["method"] == "Network.requestWillBeSent":
            requested.add(message["params"]["request"]["url"])
    requested = {url for url in requested if not url.startswith("data:")}
    require(requested, "the performance log has no request")
    others = {url for url in requested if urlsplit(url)[:3] != urlsplit(base)[:3]}
    require(not others, f"other requests: {others}")


def check_problem_texts(window, base):
    with step("problems are described in words and come first"):
        window.open(base + "?refresh=off")
        require("with problems" in window.js("return document.title"), "the title does not mention problems")
        headings = window.js("return [...document.querySelectorAll('main h2')].map(one => one.textContent)")
        require(headings[1].startswith("With problems"), f"headings are {headings}")
        card_text = window.js(
            "return [...document.querySelectorAll('.card')]"
            ".find(one => one.querySelector('h3').textContent === 'kereru').innerText"
        )
        for expected in (
            "token refused",
            "✕ down",
            "unauthenticated (code 190",
            "Remedy: the access token expired: create",
        ):
            require(expected in card_text, f"missing {expected!r}: {card_text}")
    with step("the length of quota bars matches their text") as note:
        quotas_before = count_quotas(base)
        window.open(base + "?refresh=off")
        bars = window.js(
            "document.querySelectorAll('details').forEach(one => one.open = true);"
            "return [...document.querySelectorAll('.usage')].map(one => ({"
            "percent: parseFloat(one.querySelector('b').textContent), text: one.closest('tr').innerText,"
            "ratio: one.querySelectorAll('rect')[1].getBoundingClientRect().width"
            " / one.querySelector('rect').getBoundingClientRect().width}))"
        )
        for bar in bars:
            require(abs(bar["ratio"] * 100 - min(bar["percent"], 100)) < 0.2, f"wrong length: {bar}")
        fullest = max(bars, key=lambda bar: bar["percent"])
        require(fullest["percent"] > 100 and "nearly spent" in fullest["text"], f"the longest bar is {fullest}")
        require(any("above quota share" in bar["text"] for bar in bars), "no bar is above the quota share")
        quotas_after = count_quotas(base)
        require(
            quotas_before <= len(bars) <= quotas_after, f"{len(bars)} bars, {quotas_before} to {quotas_after} quotas"
        )
        note(f"{len(bars)} bars")


def check_keyboard_order(window, base):
    with step("the Tab key reaches all elements in order, with a visible focus") as note:
        window.open(base + "?refresh=off")
        window.js("document.body.focus()")
        positions = []
        while True:
            window.press("Tab")
            focus = window.js(FOCUS_SCRIPT)
            if focus is None or (positions and focus["position"] <= positions[-1]):
                break
            require(focus["visible"], f"the focus at {focus['position']} is not visible")
            positions.append(focus["position"])
            count = focus["total"]
        require(positions == list(range(count)), f"focus order {positions}, expected 0 to {count - 1}")
        note(f"{count} stops")


def check_folding(window, base):
    with step("the keyboard collapses a section, and a link shows a single business"):
        window.open(base + "?refresh=off")
        opened = window.js(
            "const one = document.querySelector('.card'); one.querySelector('summary').focus(); return one.open"
        )
        window.press("Enter")
        after = window.js("return document.querySelector('.card').open")
        require(opened and not after, "the section is not collapsed")
        link = window.js(
            "return [...document.querySelectorAll('.token a')].find(one => one.innerText === 'only aurora').href"
        )
        window.open(link)
        names = window.js("return [...document.querySelectorAll('h3')].map(one => one.textContent)")
        require(names == ["aurora"], f"the page shows {names}")


def check_refresh(window, base):
    with step("the page reloads itself and keeps the scroll position") as note:
        window.set_viewport(360, 740, False)
        window.open(base)
        window.js("window.marked = true; scrollTo(0, 600)")
        before = window.js("return document.querySelector('footer time').textContent")
        wait_until(
            lambda: window.js("return !window.marked && document.readyState === 'complete'"), 25, "the page reloads"
        )
        after = window.js("return [document.querySelector('footer time').textContent, scrollY]")
        require(after[0] > before, "the time of the page has not changed")
        require(abs(after[1] - 600) < 5, f"scroll position {after[1]}, expected 600")
        check_no_requests(window, base)
        note(f"{before[11:19]} → {after[0][11:19]}")


def check_escaping(window):
    """Checks that HTML in texts from configs and errors is escaped."""
    with tempfile.TemporaryDirectory(prefix="ci-landing-") as folder:
        config = Path(folder) / "config.yaml"
        name = json.dumps(HOSTILE_TEXT)
        business = f"{{ name: {name}, access_token_file: {name}, ad_accounts: [{{ id: act_1 }}] }}"
        config.write_text(f'graph: {{ url: "http://127.0.0.1:9" }}\nbusinesses: [{business}]\n')
        command = [exporter_path(), f"--config.file={config}", "--web.listen-address=127.0.0.1:0"]
        with spawn(command, "exporter") as process, step("HTML in business names and errors is escaped"):
            base = wait_until(lambda: address(process), 20, "the exporter listens")
            wait_until(lambda: fetch(base + "-/ready")[0] == 200, 20, "the exporter is ready")
            window.open(base)
            title = window.js("return document.title")
            require(title == "1 business with problems – Marketing Messages exporter", f"the title is {title}")
            found = window.js(
                "return [document.querySelector('h3').textContent, document.querySelector('.error').textContent]"
            )
            require(found[0] == HOSTILE_TEXT and HOSTILE_TEXT in found[1], f"texts are missing: {found}")
            problems = window.js(LAYOUT_SCRIPT)["problems"]
            require(not problems, "; ".join(problems))
            check_no_requests(window, base)


def address(process):
    """Returns the base URL from the log line with the listen address, otherwise None."""
    for line in process.err.read_text().splitlines():
        if "listening" in line and "address=" in line:
            return f"http://{line.split('address=')[1].split()[0]}/"
    return None


run_check(check)
