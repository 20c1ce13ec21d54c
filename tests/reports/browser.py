"""Debian's Chromium without a window, spoken to by its debugging pipe; nothing else."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
SECONDS = 60


class Browser:
    """One page; `said` are its errors, `asked` what it wanted from a network."""

    def __init__(self, profile: Path):
        (theirs, self.out), (self.inn, back) = os.pipe(), os.pipe()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        # The browser reads from file 3 and writes to file 4.
        redirect = f'exec "$@" 3<&{theirs} 4>&{back}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", *command, "--remote-debugging-pipe"],
            pass_fds=(theirs, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(back)
        self.number, self.rest, self.session = 0, b"", None
        self.said: list[str] = []
        self.asked: list[str] = []
        self.loaded = False
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        there = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = there["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.session = None
            self.send("Browser.close")
        self.process.wait(SECONDS)
        os.close(self.out)
        os.close(self.inn)

    def send(self, method: str, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        while b"\0" not in self.rest:
            part = os.read(self.inn, 1 << 16)
            if not part:
                raise OSError("the browser has ended")
            self.rest += part
        one, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(one)
        match message.get("method"), message.get("params"):
            case "Runtime.exceptionThrown", {"exceptionDetails": told}:
                self.said.append(str(told.get("exception", told)))
            case "Runtime.consoleAPICalled", {"type": "error" | "warning", "args": told}:
                self.said.append(str(told))
            case "Log.entryAdded", {"entry": {"level": "error", "text": told}}:
                self.said.append(told)
            case "Network.requestWillBeSent", {"request": {"url": url}}:
                self.asked.append(url)
            case "Page.loadEventFired", _:
                self.loaded = True
        return message

    def open(self, path: Path, *, width=1280, height=900, dark=False) -> None:
        self.look(width=width, height=height, dark=dark)
        self.loaded = False
        self.send("Page.navigate", url=path.as_uri())
        while not self.loaded:
            self._read()
        self.settle()
        self.send("Page.bringToFront")

    def look(self, *, width=1280, height=900, dark=False, media="") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.send("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def scripts(self, *, run: bool) -> None:
        self.send("Emulation.setScriptExecutionDisabled", value=not run)

    def settle(self) -> None:
        """Wait until what was to be drawn is drawn."""
        twice = "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))"
        self.run(f"{twice}.then(() => 0)")

    def run(self, code: str):
        """Return what JavaScript comes to; it may be a promise."""
        got = self.send(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def drag(self, start, end) -> None:
        where = [start, ((start[0] + end[0]) / 2, end[1]), end]
        kinds = ["mousePressed", "mouseMoved", "mouseReleased"]
        self.move(start)
        for kind, (x, y) in zip(kinds, where, strict=True):
            one = {"button": "left", "buttons": 1, "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **one)
        self.settle()

    def move(self, place) -> None:
        x, y = place
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, place, times=1) -> None:
        self.move(place)
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                one = {"button": "left", "buttons": 1, "clickCount": count}
                x, y = place
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **one)
        self.settle()

    def press(self, key: str, *, shift=False) -> None:
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" and text else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift, **typed
            )
        self.settle()

    def place(self, selector: str, *, x=0.5, y=0.5):
        """Where an element's middle, or another share of it, is in the window."""
        found = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r ="
            " e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        left, top, width, height = found
        return left + x * width, top + y * height

    def whole_shot(self, path: Path) -> None:
        """The page from its head to its end."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"]}
        got = self.send(
            "Page.captureScreenshot", clip=clip | {"scale": 1}, captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(got["data"]))

    def printed(self, path: Path) -> None:
        got = self.send("Page.printToPDF", printBackground=True)
        path.write_bytes(base64.b64decode(got["data"]))
