# SPDX-License-Identifier: Apache-2.0
"""
Asks several resolvers over one unconnected UDP socket before it waits for any answer, as musl does; IPv4 ones by their
v4-mapped form if there are IPv6 ones too.
Arguments: NAME RESOLVER… [then RESOLVER] [connect RESOLVER]. `then` asks one more when all answers are there; `connect`
connects the socket first, and only that resolver's answer is waited for.
Tells as JSON, in the order of asking, who answered what; or the error of asking.
"""
import json
import os
import socket
import struct
import sys

name, *rest = sys.argv[1:]
options = {}
while len(rest) > 2 and rest[-2] in ("then", "connect"):
    options[rest[-2]] = rest[-1]
    rest = rest[:-2]
six = any(":" in resolver for resolver in rest)
sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10 * float(os.environ.get("SHUNT_PATIENCE", "1")))
told = {}
if six:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def place(resolver):
    return (f"::ffff:{resolver}" if six and ":" not in resolver else resolver, 53)


def ask(number, resolver):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    try:
        sock.sendto(header + labels + b"\0" + struct.pack(">2H", 1, 1), place(resolver))
    except OSError as error:
        told[number] = {"error": error.__class__.__name__}


def receive():
    data, (sender, port, *_) = sock.recvfrom(4096)
    sender = sender.removeprefix("::ffff:") if "." in sender else sender
    told[int.from_bytes(data[:2], "big")] = {"from": sender, "port": port, "address": socket.inet_ntoa(data[-4:])}


if "connect" in options:
    sock.connect(place(options["connect"]))
for number, resolver in enumerate(rest):
    ask(number, resolver)
if "connect" in options:
    receive()
    told["peer"] = sock.getpeername()[0]
else:
    for _ in range(len(rest) - len(told)):
        receive()
if "then" in options:
    ask(len(rest), options["then"])
    receive()
print(json.dumps([told.get(number) for number in range(len(rest) + ("then" in options))] + [told.get("peer")]))
