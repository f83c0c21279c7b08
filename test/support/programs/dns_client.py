# SPDX-License-Identifier: Apache-2.0
"""
Asks resolvers over one UDP socket: `sendto` unconnected and one after the other, `connect` A and AAAA at once.
Arguments: HOW NAME [bind=ADDRESS] RESOLVER… ; tells as JSON what came back and from whom.
"""
import json
import os
import socket
import struct
import sys

how, name, *resolvers = sys.argv[1:]
source = resolvers.pop(0)[5:] if resolvers[0].startswith("bind=") else None
sock = socket.socket(socket.AF_INET6 if ":" in resolvers[0] else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10 * float(os.environ.get("SHUNT_PATIENCE", "1")))
if source is not None:
    sock.bind((source, 0))


def query(number, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def answer(data):
    number, flags = struct.unpack(">2H", data[:4])
    # The header, the name with one byte more at either end, the type.
    kind = struct.unpack_from(">H", data, 12 + len(name) + 2)[0]
    length = 16 if kind == 28 else 4
    family = socket.AF_INET6 if kind == 28 else socket.AF_INET
    return {"id": number, "rcode": flags & 15, "address": socket.inet_ntop(family, data[-length:])}


told = []
try:
    if how == "connect":
        sock.connect((resolvers[0], 53))
        told.append({"peer": sock.getpeername()[:2]})
        for number, kind in enumerate((1, 28)):
            sock.send(query(number, kind))
        for _ in range(2):
            data, sender = sock.recvfrom(4096)
            told.append({"from": sender[:2], **answer(data)})
        told[1:] = sorted(told[1:], key=lambda one: one["id"])
    else:
        for number, resolver in enumerate(resolvers):
            sock.sendto(query(number, 1), (resolver, 53))
            data, sender = sock.recvfrom(4096)
            told.append({"from": sender[:2], **answer(data)})
except OSError as error:
    told.append({"error": error.__class__.__name__})
print(json.dumps(told))
