"""A running node for the checks that are written in Python: built, started in a temporary folder, stopped afterwards."""

import json
import os
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# A node that has not said its address and its key by then does not start any more.
START_LINES_MAX = 50
STOP_S_MAX = 60


def build():
    subprocess.run(["cargo", "build", "--locked", "--bin", "doorbuster"], cwd=ROOT, check=True)
    return TARGET / "debug/doorbuster"


class Node:
    """A node in a temporary folder, gone with the `with` block."""

    def __init__(self, binary):
        self.folder = tempfile.TemporaryDirectory(prefix="doorbuster-")
        own = {name: value for name, value in os.environ.items() if not name.startswith("DOORBUSTER__")}
        own |= {"DOORBUSTER__API__LISTEN": "127.0.0.1:0", "DOORBUSTER__API__OPERATOR_LISTEN": "127.0.0.1:0"}
        # Absolute, because the node runs in its own folder.
        self.process = subprocess.Popen([Path(binary).resolve()], cwd=self.folder.name, env=own, stdout=subprocess.PIPE, text=True)
        self.public = self.key = None
        for _ in range(START_LINES_MAX):
            word, _, value = self.process.stdout.readline().strip().partition(" ")
            if word == "public":
                self.public = value
            if word == "key":
                self.key = value
            if self.public and self.key:
                return
        self.__exit__()
        raise SystemExit("the node did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.folder.cleanup()

    def put(self, path, body, **headers):
        self.send("PUT", path, body, **headers)

    def send(self, method, path, body, **headers):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.public + path, json.dumps(body).encode(), headers, method=method)
        urllib.request.urlopen(request, timeout=30).read()
