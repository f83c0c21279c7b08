# SPDX-License-Identifier: Apache-2.0
"""
Answers every DNS query over UDP on the given addresses: the first one says 192.0.2.1, the second 192.0.2.2, and so on.
Prints "ready" when it can.
"""
import selectors
import socket
import struct
import sys

ready = selectors.DefaultSelector()
for number, address in enumerate(sys.argv[1:], 1):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    ready.register(sock, selectors.EVENT_READ, number)
print("ready", flush=True)
while True:
    for key, _ in ready.select():
        query, client = key.fileobj.recvfrom(4096)
        header = query[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
        record = struct.pack(">3HLH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(f"192.0.2.{key.data}")
        key.fileobj.sendto(header + query[12:] + record, client)
