"""One headless Chromium for many tests, spoken to over its debugging pipe."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
QUIET = (
    *("--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-sandbox"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Browser:
    """A page of a browser, as a context manager.

    Args:
        profile: an empty folder for what the browser keeps.
    """

    def __init__(self, profile: Path) -> None:
        (down, self._down), (self._up, up) = os.pipe(), os.pipe()
        # The browser reads descriptor 3 and writes 4; the shell puts the pipes there.
        shell = f'exec "$0" "$@" 3<&{down} 4>&{up}'
        options = (*QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank")
        self._process = subprocess.Popen(
            ["bash", "-c", shell, str(FOUND), *options],
            pass_fds=(down, up),
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self._read, self._count, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        # A page of one's own: the browser's first may not be there yet.
        page = self.call("Target.createTarget", url="about:blank")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self._send("Browser.close")
        self._process.wait(30)
        os.close(self._down)
        os.close(self._up)

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol and return its result."""
        number = self._send(method, **parameters)
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def open(
        self,
        page: Path,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        hash: str = "",
    ) -> None:
        """Show a file on a screen of that size, in light or dark, and wait until it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call("Page.navigate", url="about:blank")
        self.wait("Page.loadEventFired")
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait("Page.loadEventFired")

    def wait(self, method: str) -> dict[str, Any]:
        """Return the next event of that name, one that has been received before included."""
        while True:
            for event in self.events:
                if event["method"] == method:
                    self.events.remove(event)
                    return event
            self._receive()

    def evaluate(self, script: str) -> Any:
        """Return what an expression is worth on the page, whatever the page's own policy."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def type(self, text: str) -> None:
        """Press the keys of a text, one after the other."""
        for letter in text:
            for kind in ("keyDown", "keyUp"):
                down = {"text": letter} if kind == "keyDown" and len(letter) == 1 else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=letter, **down)

    def press(self, key: str) -> None:
        """Press a key that writes nothing, such as Tab or Escape."""
        codes = {"Tab": 9, "Escape": 27, "Enter": 13}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key]
            )

    def picture(self, whole: bool = False) -> bytes:
        """Return the screen, or the whole page, as PNG."""
        return b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _send(self, method: str, **parameters: Any) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._down, json.dumps(message).encode() + b"\0")
        return self._count

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            found = os.read(self._up, 1 << 16)
            assert found, "the browser has gone"
            self._read += found
        text, _, self._read = self._read.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message
