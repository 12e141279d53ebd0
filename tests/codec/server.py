"""A web server that counts the bytes it gives away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    data, ranges, read = b"", True, 0

    def do_GET(self) -> None:
        header = self.headers.get("Range")
        part = type(self).data
        if header and type(self).ranges:
            first, last = (int(v) for v in header.removeprefix("bytes=").split("-"))
            part = type(self).data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(type(self).data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        type(self).read += len(part)  # before the reader can look
        self.wfile.write(part)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def serve(data: bytes) -> Iterator[tuple[str, type[Handler]]]:
    """The URL that gives `data`, and the handler: how many bytes were read, and whether it knows ranges."""
    handler = type("CountingHandler", (Handler,), {"data": data})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a.garv", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
