"""Who gets alerts: a real Alertmanager, and an HTTP receiver that keeps what it gets and answers as it is told.

In: addresses. Out: what arrived. Keeps: an Alertmanager is a process of its own in a folder of its own; it ends with the test.
"""

import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from stack import bound, wait_until

PROGRAM = "prometheus-alertmanager"
# of nobody: for localhost and 127.0.0.1, until 2126
FIXTURES = Path(__file__).resolve().parents[2] / "notify/tests/fixtures"
CERTIFICATE, KEY = FIXTURES / "localhost.crt", FIXTURES / "localhost.key"


class Receiver:
    """Answers 200, or what `answer(request)` says; every request is a dict of path, headers, body, at."""

    def __init__(self, port, answer=lambda request: 200, secure=False):
        self.received = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = {"path": self.path, "headers": dict(self.headers.items()), "body": body, "at": time.time()}
                status = answer(request)
                if status == 200:
                    receiver.received.append(request)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, KEY)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if secure else ''}://localhost:{port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def bodies(self):
        return [json.loads(request["body"]) for request in list(self.received)]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Alertmanager:
    """Alone, and quick to tell its receiver, also of what is over.

    Not one of a cluster: with intervals of a second its members race each other, and tell what they told already.
    """

    def __init__(self, folder, port, receiver):
        self.url = f"http://127.0.0.1:{port}"
        folder.mkdir()
        config = folder / "alertmanager.yml"
        webhook = {"url": receiver, "send_resolved": True}
        route = {"receiver": "test", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s", "repeat_interval": "4h"}
        # JSON is YAML
        config.write_text(json.dumps({"route": route, "receivers": [{"name": "test", "webhook_configs": [webhook]}]}))
        self._log = folder / "alertmanager.log"
        self._command = [
            PROGRAM,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        self._process = None
        self.start()
        wait_until(self.is_ready, 30, "an Alertmanager that is ready")

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                bound(self._command, "KILL"), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self):
        self._process.terminate()
        self._process.wait(20)

    def is_ready(self):
        assert self._process.poll() is None, f"Alertmanager ended: {self._log.read_text()[-2000:]}"
        return requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200

    def alerts(self):
        """What fires, as it sees it."""
        return requests.get(f"{self.url}/api/v2/alerts", timeout=5).json()
