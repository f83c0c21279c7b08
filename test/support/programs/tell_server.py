# SPDX-License-Identifier: Apache-2.0
"""HTTP server that tells every client which addresses its connection has: tell_server.py ADDRESS PORT..."""
import http.server
import json
import socket
import socketserver
import sys
import threading


class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address, port = self.client_address[:2]
        local = self.connection.getsockname()[:2]
        body = json.dumps({"server": "python", "client": address, "clientPort": port, "local": local}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # An IPv6 socket for "::" takes IPv4 as well, as most servers have it.
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    request_queue_size = 1024

    def server_bind(self):
        # HTTPServer would ask DNS for the machine's name, which takes half a minute where nobody answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


for port in sys.argv[2:]:
    server = Server((sys.argv[1], int(port)), Tell)
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
