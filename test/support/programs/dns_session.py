# SPDX-License-Identifier: Apache-2.0
"""
Keeps a connected UDP socket and a TCP connection to a resolver, and asks over both for every name it reads.
Arguments: RESOLVER ; tells as JSON what came back, or the error.
"""
import json
import os
import socket
import struct
import sys

resolver = sys.argv[1]
family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
patience = 10 * float(os.environ.get("SHUNT_PATIENCE", "1"))


def opened(kind):
    sock = socket.socket(family, kind)
    sock.settimeout(patience)
    sock.connect((resolver, 53))
    return sock


def query(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("end")
        data += more
    return data


def over_udp(sock, name):
    sock.send(query(name))
    answer, sender = sock.recvfrom(4096)
    # c-ares and others look who answered, on a connected socket as well.
    if sender[:2] != (resolver, 53):
        raise ConnectionError(str(sender))
    return answer


def over_tcp(sock, name):
    asked = query(name)
    sock.sendall(struct.pack(">H", len(asked)) + asked)
    return exactly(sock, struct.unpack(">H", exactly(sock, 2))[0])


def attempt(ask, sock, name):
    try:
        return socket.inet_ntoa(ask(sock, name)[-4:])
    except OSError as error:
        return error.__class__.__name__


udp = opened(socket.SOCK_DGRAM)
tcp = opened(socket.SOCK_STREAM)
print("ready", flush=True)
for line in sys.stdin:
    name = line.strip()
    answers = {"udp": attempt(over_udp, udp, name), "tcp": attempt(over_tcp, tcp, name)}
    print(json.dumps({"name": name, **answers}), flush=True)
