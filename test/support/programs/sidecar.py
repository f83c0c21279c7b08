# SPDX-License-Identifier: Apache-2.0
"""An unmodified sidecar in small: outbound and inbound port, SO_ORIGINAL_DST, its own source towards the application.

sidecar.py [--uid UID] [--gid GID] [--outbound PORT] [--inbound PORT] [--service VIP=ADDRESS]... [--tell-clients]

--service sends what was meant for VIP to ADDRESS, as a load balancer does. One line for each connection:
"outbound DESTINATION PORT" or "inbound DESTINATION PORT", with --tell-clients the client's port besides.
"""
import argparse
import ipaddress
import os
import socket
import struct
import threading

SO_ORIGINAL_DST = 80  # include/uapi/linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same number
SOL_IP, SOL_IPV6 = 0, 41
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75  # include/uapi/linux/in.h, in6.h

parser = argparse.ArgumentParser()
parser.add_argument("--outbound", type=int, default=15001)
parser.add_argument("--inbound", type=int, default=15006)
parser.add_argument("--service", action="append", default=[])
parser.add_argument("--uid", type=int)
parser.add_argument("--gid", type=int)
parser.add_argument("--tell-clients", action="store_true")
options = parser.parse_args()
services = dict(service.split("=") for service in options.service)


def original_destination(connection):
    """Address and port the connection was meant for."""
    if connection.family == socket.AF_INET:
        raw = connection.getsockopt(SOL_IP, SO_ORIGINAL_DST, 16)
        return str(ipaddress.ip_address(raw[4:8])), struct.unpack("!H", raw[2:4])[0]
    raw = connection.getsockopt(SOL_IPV6, SO_ORIGINAL_DST, 28)
    return str(ipaddress.ip_address(raw[8:24])), struct.unpack("!H", raw[2:4])[0]


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def serve(direction, connection):
    try:
        address, port = original_destination(connection)
    except OSError:
        address, port = connection.getsockname()[:2]
    client = (connection.getpeername()[1],) if options.tell_clients else ()
    print(direction, address, port, *client, flush=True)
    upstream = socket.socket(connection.family)
    try:
        if direction == "inbound":
            upstream.bind(("127.0.0.6" if connection.family == socket.AF_INET else "::6", 0))
        upstream.connect((services.get(address, address) if direction == "outbound" else address, port))
    except OSError:
        connection.close()
        return
    threading.Thread(target=pump, args=(upstream, connection)).start()
    pump(connection, upstream)


def accept(direction, listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(direction, connection)).start()


listeners = []
for direction, port in (("outbound", options.outbound), ("inbound", options.inbound)):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if direction == "inbound":
            # TPROXY leads to such sockets only, which take CAP_NET_ADMIN to make.
            if family == socket.AF_INET6:
                listener.setsockopt(SOL_IPV6, IPV6_TRANSPARENT, 1)
            else:
                listener.setsockopt(SOL_IP, IP_TRANSPARENT, 1)
        listener.bind((address, port))
        listeners.append((direction, listener))
# Here and not by setpriv: the interpreter may be somewhere only root may look.
if options.gid is not None:
    os.setgroups([])
    os.setgid(options.gid)
if options.uid is not None:
    os.setuid(options.uid)
for direction, listener in listeners:
    listener.listen(128)
    threading.Thread(target=accept, args=(direction, listener)).start()
print("ready", flush=True)
