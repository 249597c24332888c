"""A real browser: Debian's chromium, driven through its chromedriver by WebDriver over HTTP.

It has a profile of its own, asks nobody but the page that it is told to open, and ends with the
`with` block. What a page loads, what its console says and what its policy forbids is kept in the
driver's log; `events` reads what is new there.
"""

import base64
import json
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager

from programs import DIRECT, Failure, require, started, until

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
]


class Browser:
    """One window of it."""

    def __init__(self, driver, session):
        self.base = f"{driver}/session/{session}"

    def call(self, path, body=None, method=None, limit=30):
        return call(self.base + path, body, method, limit)

    def cdp(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("/url", {"url": url})

    def js(self, script, *arguments):
        """What a function body returns, run by the driver, whatever the page's policy says."""
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def look(self, width, height, dark):
        """From now on through a window of that size, by day or by night."""
        phone = width < 600
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])

    def press(self, key):
        code, text = KEYS[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.cdp("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.cdp("Input.dispatchKeyEvent", type="keyUp", **event)

    def picture(self, whole=True):
        """What is to be seen, as PNG."""
        return base64.b64decode(self.cdp("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def events(self, kind):
        """What the driver noted since it was last asked: `performance` or `browser`."""
        return self.call("/se/log", {"type": kind})


# Each key's number, and the text that it types.
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


def call(url, body=None, method=None, limit=30):
    """The value that the driver answers with; an error of its is a failure."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with DIRECT.open(request, timeout=limit) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        told = json.load(error)["value"]
        raise Failure(f"{url.rsplit('/', 1)[-1]}: {told['error']}: {told['message'].splitlines()[0]}") from None


@contextmanager
def browser():
    """Chromium with an empty profile, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="ci-profile-", ignore_cleanup_errors=True) as profile:
        with started(["chromedriver", "--port=0"], "chromedriver") as driver:
            address = until(lambda: listening(driver), 20, "chromedriver listens")
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            made = call(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}}, limit=60)
            window = Browser(address, made["sessionId"])
            # What it began with, a page of its own, is nothing to look at.
            window.open("about:blank")
            window.events("performance")
            try:
                yield window
            finally:
                window.call("", method="DELETE")


def listening(driver):
    """Where it listens: it says so on its output once it does."""
    require(driver.process.poll() is None, "chromedriver ended by itself")
    for line in driver.out.read_text().splitlines():
        if "started successfully on port " in line:
            port = line.rstrip(".").rsplit(" ", 1)[-1]
            return f"http://127.0.0.1:{port}"
    return None
