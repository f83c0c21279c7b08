# SPDX-License-Identifier: Apache-2.0
"""A proxy's inbound listener in small: inbound_listener.py PORT SOCKETS

SOCKETS sockets of one reuseport group on ::, which take IPv4 as well. It answers by itself: with its process id, the
connection's own address, and the original destination that the kernel tells.
"""
import ipaddress
import json
import os
import socket
import struct
import sys
import threading

SO_ORIGINAL_DST = 80  # include/uapi/linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same number
SOL_IP, SOL_IPV6 = 0, 41


def original_destination(connection):
    raw = connection.getsockopt(SOL_IPV6, SO_ORIGINAL_DST, 28)
    return str(ipaddress.ip_address(raw[8:24])), struct.unpack("!H", raw[2:4])[0]


def serve(listener):
    while True:
        connection, client = listener.accept()
        with connection:
            connection.recv(65536)
            told = {
                "server": str(os.getpid()),
                "client": client[0],
                "local": connection.getsockname()[:2],
                "original": original_destination(connection),
            }
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(told).encode())


for _ in range(int(sys.argv[2])):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", int(sys.argv[1])))
    listener.listen(128)
    threading.Thread(target=serve, args=(listener,)).start()
