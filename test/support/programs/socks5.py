# SPDX-License-Identifier: Apache-2.0
"""SOCKS5 server without authentication (RFC 1928, CONNECT only): socks5.py ADDRESS PORT

Prints one line for each request: "connect DESTINATION PORT".
"""
import socket
import socketserver
import struct
import sys
import threading

FAMILIES = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Socks(socketserver.BaseRequestHandler):
    def read(self, count):
        data = b""
        while len(data) < count:
            if not (chunk := self.request.recv(count - len(data))):
                raise ConnectionResetError
            data += chunk
        return data

    def handle(self):
        _, methods = self.read(2)
        self.read(methods)
        self.request.sendall(b"\x05\x00")
        _, _, _, kind = self.read(4)
        family, size = FAMILIES[kind]
        address = socket.inet_ntop(family, self.read(size))
        (port,) = struct.unpack("!H", self.read(2))
        print("connect", address, port, flush=True)
        with socket.create_connection((address, port)) as upstream:
            self.request.sendall(b"\x05\x00\x00\x01" + bytes(6))
            up = threading.Thread(target=pump, args=(self.request, upstream))
            up.start()
            pump(upstream, self.request)
            up.join()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server((sys.argv[1], int(sys.argv[2])), Socks) as server:
    print("ready", flush=True)
    server.serve_forever()
