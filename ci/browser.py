"""Controls Debian's Chromium through chromedriver, by the WebDriver protocol over HTTP.

The browser has a temporary profile, sends no background requests, and ends with the `with` block. The driver logs
network requests, console messages and violations of the content security policy; `events` reads new log entries.
"""

import base64
import json
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager

from processes import DIRECT_OPENER, Failure, require, spawn, wait_until

CHROMIUM_FLAGS = [
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
    """A browser window."""

    def __init__(self, driver, session):
        self.base = f"{driver}/session/{session}"

    def call(self, path, body=None, method=None, limit=30):
        return call(self.base + path, body, method, limit)

    def cdp(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("/url", {"url": url})

    def js(self, script, *arguments):
        """Runs a function body in the page, regardless of its content security policy, and returns the result."""
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def set_viewport(self, width, height, dark):
        """Sets the window size and the preferred colour scheme for the pages that follow."""
        phone = width < 600
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])

    def press(self, key):
        code, text = KEYS[key]
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.cdp("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.cdp("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, full_page=True):
        """Returns a screenshot as PNG, of the full page or of the visible part."""
        return base64.b64decode(self.cdp("Page.captureScreenshot", captureBeyondViewport=full_page)["data"])

    def events(self, kind):
        """Returns the new entries of the `performance` or the `browser` log since the last call."""
        return self.call("/se/log", {"type": kind})


# Windows virtual key code and typed text of each key.
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


def call(url, body=None, method=None, limit=30):
    """Sends a WebDriver command and returns the result; raises `Failure` for a WebDriver error."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with DIRECT_OPENER.open(request, timeout=limit) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        details = json.load(error)["value"]
        raise Failure(f"{url.rsplit('/', 1)[-1]}: {details['error']}: {details['message'].splitlines()[0]}") from None


@contextmanager
def start_browser():
    """Runs Chromium with an empty profile for the duration of the block."""
    with tempfile.TemporaryDirectory(prefix="ci-profile-", ignore_cleanup_errors=True) as profile:
        with spawn(["chromedriver", "--port=0"], "chromedriver") as driver:
            address = wait_until(lambda: find_address(driver), 20, "chromedriver listens")
            options = {"args": [*CHROMIUM_FLAGS, f"--user-data-dir={profile}"]}
            capabilities = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            session = call(f"{address}/session", {"capabilities": {"alwaysMatch": capabilities}}, limit=60)
            window = Browser(address, session["sessionId"])
            # Discards the log entries of the start page.
            window.open("about:blank")
            window.events("performance")
            try:
                yield window
            finally:
                window.call("", method="DELETE")


def find_address(driver):
    """Returns the URL of chromedriver once it has printed its port, otherwise None."""
    require(driver.process.poll() is None, "chromedriver exited unexpectedly")
    for line in driver.out.read_text().splitlines():
        if "started successfully on port " in line:
            port = line.rstrip(".").rsplit(" ", 1)[-1]
            return f"http://127.0.0.1:{port}"
    return None
