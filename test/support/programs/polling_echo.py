# SPDX-License-Identifier: Apache-2.0
"""Echo server that reads after polling: polling_echo.py ADDRESS PORT READER, which is recv or splice."""

import os
import selectors
import socket
import sys

address, port, reader = sys.argv[1], int(sys.argv[2]), sys.argv[3]
listener = socket.create_server((address, port))
listener.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
out, into = os.pipe()


def read(connection):
    if reader == "recv":
        return connection.recv(65536)
    count = os.splice(connection.fileno(), into, 65536, flags=os.SPLICE_F_NONBLOCK)
    return os.read(out, count) if count else b""


print("ready", flush=True)
while True:
    for key, _ in selector.select():
        connection = key.fileobj
        if connection is listener:
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            selector.register(accepted, selectors.EVENT_READ)
            continue
        try:
            data = read(connection)
        except BlockingIOError:
            continue
        except ConnectionError:
            data = b""
        if data:
            connection.sendall(data)
        else:
            selector.unregister(connection)
            connection.close()
