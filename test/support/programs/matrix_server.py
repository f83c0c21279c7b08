# SPDX-License-Identifier: Apache-2.0
"""Tells every client who it seems to be: matrix_server.py [--who NAME] [--tcp PORT]... [--udp PORT]... ADDRESS...

One line of JSON by TCP, a datagram by UDP: NAME, the client's address and port and the server's, and by TCP where the
connection was meant to go. --dns: the same as a TXT record, by UDP and TCP 53. --transparent: takes connections to
addresses that are not its own. --raw answers packets of protocol 132 (SCTP), which this kernel may know nothing of, with a packet of it.
"""
import argparse
import ipaddress
import json
import selectors
import socket
import struct

SCTP = 132
SO_ORIGINAL_DST = 80  # include/uapi/linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same number
SOL_IP, SOL_IPV6 = 0, 41
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75  # include/uapi/linux/in.h, in6.h

parser = argparse.ArgumentParser()
parser.add_argument("--who")
parser.add_argument("--transparent", action="store_true")
parser.add_argument("--tcp", type=int, action="append", default=[])
parser.add_argument("--udp", type=int, action="append", default=[])
parser.add_argument("--dns", action="store_true")
parser.add_argument("--raw", action="store_true")
parser.add_argument("addresses", nargs="+")
options = parser.parse_args()
ready = selectors.DefaultSelector()


def told(client, server, **more):
    who = {} if options.who is None else {"who": options.who}
    return json.dumps({**who, "client": client[:2], "server": server[:2], **more}).encode()


def original_destination(connection):
    """None where connection tracking knows of no translation."""
    try:
        if connection.family == socket.AF_INET:
            raw = connection.getsockopt(SOL_IP, SO_ORIGINAL_DST, 16)
            return str(ipaddress.ip_address(raw[4:8])), struct.unpack("!H", raw[2:4])[0]
        raw = connection.getsockopt(SOL_IPV6, SO_ORIGINAL_DST, 28)
        return str(ipaddress.ip_address(raw[8:24])), struct.unpack("!H", raw[2:4])[0]
    except OSError:
        return None


def txt_answer(query, text):
    header = query[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
    data = bytes([len(text)]) + text
    return header + query[12:] + struct.pack(">3HLH", 0xC00C, 16, 1, 0, len(data)) + data


def on_tcp(listener):
    connection, client = listener.accept()
    with connection:
        original = original_destination(connection)
        connection.sendall(told(client, connection.getsockname(), original=original) + b"\n")
        connection.shutdown(socket.SHUT_WR)


def on_udp(sock):
    _, client = sock.recvfrom(4096)
    sock.sendto(told(client, sock.getsockname()), client)


def on_dns_udp(sock):
    query, client = sock.recvfrom(4096)
    sock.sendto(txt_answer(query, told(client, sock.getsockname())), client)


def on_dns_tcp(listener):
    connection, client = listener.accept()
    connection.settimeout(30)

    def on_query(sock):
        with sock:
            ready.unregister(sock)
            length = sock.recv(2, socket.MSG_WAITALL)
            if len(length) == 2:
                query = sock.recv(struct.unpack(">H", length)[0], socket.MSG_WAITALL)
                answer = txt_answer(query, told(client, sock.getsockname()))
                sock.sendall(struct.pack(">H", len(answer)) + answer)

    ready.register(connection, selectors.EVENT_READ, on_query)


def on_raw(sock):
    packet, client = sock.recvfrom(4096)
    # IPv4 raw sockets see the IP header.
    payload = packet[(packet[0] & 15) * 4 :] if sock.family == socket.AF_INET else packet
    if payload.startswith(b"ask "):
        sock.sendto(b"answer " + payload[4:], client[:1] + (0,) * (len(client) - 1))


def add(address, kind, port, callback):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind, SCTP if kind == socket.SOCK_RAW else 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and kind != socket.SOCK_RAW:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if options.transparent:
        level, option = (SOL_IPV6, IPV6_TRANSPARENT) if family == socket.AF_INET6 else (SOL_IP, IP_TRANSPARENT)
        sock.setsockopt(level, option, 1)
    # A link-local address comes with its interface.
    sock.bind(socket.getaddrinfo(address, port, family)[0][4])
    if kind == socket.SOCK_STREAM:
        sock.listen(256)
    ready.register(sock, selectors.EVENT_READ, callback)


for address in options.addresses:
    for port in options.tcp:
        add(address, socket.SOCK_STREAM, port, on_tcp)
    for port in options.udp:
        add(address, socket.SOCK_DGRAM, port, on_udp)
    if options.dns:
        add(address, socket.SOCK_STREAM, 53, on_dns_tcp)
        add(address, socket.SOCK_DGRAM, 53, on_dns_udp)
    if options.raw:
        add(address, socket.SOCK_RAW, 0, on_raw)
print("ready", flush=True)
while True:
    for key, _ in ready.select():
        try:
            key.data(key.fileobj)
        except OSError:
            # That client has gone.
            pass
