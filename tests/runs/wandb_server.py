"""Serve as much of Weights & Biases as its library needs to start a run; nothing is stored. Usage: PORT.

Every request is printed, so that a test sees how far the library is.
"""

from __future__ import annotations

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_RUN = {"id": "run", "name": "run", "displayName": "run", "config": "{}", "historyLineCount": 0}
_PROJECT = {"id": "project", "name": "ctbench", "entity": {"id": "entity", "name": "me"}}
# A word of a query -> the answer to the query.
_ANSWERS: dict[str, dict[str, Any]] = {
    "upsertBucket": {"upsertBucket": {"bucket": _RUN | {"project": _PROJECT}, "inserted": True}},
    "__type": {"__type": None, "QueryType": {"fields": []}, "MutationType": {"fields": []}},
    "serverInfo": {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "features": []}},
    "model(": {"model": _PROJECT | {"bucket": None}},
    "viewer": {"viewer": {"id": "me", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}},
}


class Handler(BaseHTTPRequestHandler):
    """Answers GraphQL queries by their first known word, and everything else with an empty object."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        text = content.decode("utf-8", errors="replace")
        print(self.path, text[:200].replace("\n", " "), flush=True)
        answer = next((answer for word, answer in _ANSWERS.items() if word in text), {})
        body = json.dumps({"data": answer} if "graphql" in self.path else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing but the requests."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
