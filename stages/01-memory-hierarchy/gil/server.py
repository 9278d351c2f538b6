"""A server of one thread a connection, in Python, whose requests compute: python3 server.py [PORT]

GET /work?n=N answers with the state of a small generator after N steps; GET /ping answers at once. The same in Rust is server.rs,
beside this file. Under CPython's global interpreter lock only one of the threads computes at a time, however many cores there are.
Standard library only. Prints the port that it listens on.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def work(steps):
    state = 1
    for _ in range(steps):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
    return state


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path, _, query = self.path.partition("?n=")
        body = b"pong" if path == "/ping" else str(work(int(query))).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.wfile.write(head + body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
