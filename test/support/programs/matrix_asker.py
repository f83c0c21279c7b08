# SPDX-License-Identifier: Apache-2.0
"""Asks matrix servers, each question from a process of its own with the identity it names.

A line of JSON on standard input is a question, a line on standard output its answer: {"id", "told"} or {"id", "error"},
with the name of the errno, "timeout" when nobody answered, "closed" when somebody took the connection and said nothing.
"""
import errno
import json
import os
import signal
import socket
import struct
import sys

SO_MARK = 36  # include/uapi/asm-generic/socket.h
SCTP, ICMP, ICMPV6 = 132, 1, 58


def place(question):
    family = socket.AF_INET6 if ":" in question["address"] else socket.AF_INET
    return family, socket.getaddrinfo(question["address"], question.get("port", 0), family)[0][4]


def opened(question, kind, protocol=0):
    family, address = place(question)
    if "gid" in question:
        os.setgroups([])
        os.setresgid(*[question["gid"]] * 3)
    if "uid" in question:
        os.setresuid(*[question["uid"]] * 3)
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(question["timeoutMs"] / 1000)
    if "mark" in question:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, question["mark"])
    if "source" in question or "sourcePort" in question:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((question.get("source", "::" if family == socket.AF_INET6 else "0.0.0.0"), question.get("sourcePort", 0)))
    return sock, address


def dns_query(number):
    return struct.pack(">6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + b"\x04test\0" + struct.pack(">2H", 16, 1)


def dns_told(message):
    # The header, the question, a compressed name, type, class, lifetime, length, and the length of the text.
    return json.loads(message[12 + 10 + 12 + 1 :])


def exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def over_tcp(question):
    sock, address = opened(question, socket.SOCK_STREAM)
    sock.connect(address)
    if question["transport"] == "dns-tcp":
        query = dns_query(question["id"])
        sock.sendall(struct.pack(">H", len(query)) + query)
        return dns_told(exactly(sock, struct.unpack(">H", exactly(sock, 2))[0]))
    answer = b""
    while chunk := sock.recv(65536):
        answer += chunk
    if not answer:
        raise EOFError
    return json.loads(answer)


def over_udp(question):
    sock, address = opened(question, socket.SOCK_DGRAM)
    dns = question["transport"] == "dns-udp"
    sock.sendto(dns_query(question["id"]) if dns else b"?", address)
    answer, sender = sock.recvfrom(4096)
    asked = question["address"].partition("%")[0]
    if sender[0] != asked or sender[1] != question["port"]:
        return {"sender": sender[:2]}
    return dns_told(answer) if dns else json.loads(answer)


def over_raw(question):
    sock, address = opened(question, socket.SOCK_RAW, SCTP)
    token = b"%d" % question["id"]
    sock.sendto(b"ask " + token, address[:1] + (0,) + address[2:])
    while True:
        packet, sender = sock.recvfrom(4096)
        if packet.endswith(b"answer " + token):
            return {"client": None, "server": [sender[0], 0]}


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def over_icmp(question):
    six = ":" in question["address"]
    sock, address = opened(question, socket.SOCK_RAW, ICMPV6 if six else ICMP)
    number = question["id"] & 0xFFFF
    kind = 128 if six else 8
    # The kernel fills in the checksum of ICMPv6.
    bare = struct.pack(">BBHHH", kind, 0, 0, number, 1)
    sock.sendto(struct.pack(">BBHHH", kind, 0, 0 if six else checksum(bare), number, 1), address[:1] + (0,) + address[2:])
    while True:
        packet, sender = sock.recvfrom(4096)
        message = packet if six else packet[(packet[0] & 15) * 4 :]
        if message[0] == (129 if six else 0) and struct.unpack(">H", message[4:6])[0] == number:
            return {"client": None, "server": [sender[0], 0]}


ASK = {"tcp": over_tcp, "dns-tcp": over_tcp, "udp": over_udp, "dns-udp": over_udp, "sctp": over_raw, "icmp": over_icmp}


def answer(question):
    try:
        return {"told": ASK[question["transport"]](question)}
    except (socket.timeout, TimeoutError):
        return {"error": "timeout"}
    except EOFError:
        return {"error": "closed"}
    except OSError as error:
        return {"error": errno.errorcode.get(error.errno, str(error))}


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    if os.fork() == 0:
        # Shorter than PIPE_BUF, so that lines of several processes are never mixed.
        os.write(1, json.dumps({"id": question["id"], **answer(question)}).encode() + b"\n")
        os._exit(0)
