"""A web server on this machine that answers as told, also as badly as servers can."""

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """What the server says: `body`, in as many `parts`.

    `promised` is the Content-Length, if not the true one. After `hang_after` bytes the
    server falls silent, without hanging up. Before the last part it waits until it has been
    asked `waits_for` times.
    """

    body: bytes = b""
    status: int = 200
    promised: int | None = None
    parts: int = 1
    hang_after: int | None = None
    waits_for: int = 0
    encoding: str | None = None


class Server:
    """Answers each address with the replies given for it in turn, the last one for ever."""

    def __init__(self):
        self.replies = {}  # path -> list of replies
        self.requests = []  # (path, headers) of every request
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        poll = {"poll_interval": 0.01}
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs=poll)
        self._thread.start()

    def put(self, path, *replies):
        """Answer `path` with these replies; returns the address."""
        self.replies[path] = list(replies)
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def close(self):
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.path, dict(self.headers)))
                replies = server.replies.get(self.path, [Reply(status=404)])
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
                # The other side may give up, as some tests want it to.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    server._answer(self, reply)

            def log_message(self, *_):
                pass

        return Handler

    def _answer(self, handler, reply):
        if reply.hang_after == 0:
            self.closing.wait(60)
            return
        body = reply.body
        handler.send_response(reply.status)
        length = len(body) if reply.promised is None else reply.promised
        handler.send_header("Content-Length", str(length))
        if reply.encoding:
            handler.send_header("Content-Encoding", reply.encoding)
        handler.end_headers()
        step = max(1, -(-len(body) // reply.parts))
        for start in range(0, len(body), step):
            last = start + step >= len(body)
            while last and len(self.requests) < reply.waits_for:
                if self.closing.wait(0.01):
                    return
            handler.wfile.write(body[start : start + step])
            if reply.hang_after is not None and start + step >= reply.hang_after:
                self.closing.wait(60)
                return
