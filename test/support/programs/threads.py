# SPDX-License-Identifier: Apache-2.0
"""
A program with blocking sockets, one thread that receives and one that sends all for each connection.
`serve ADDRESS PORT` answers with the same bytes turned around in pieces of 1000; `run ADDRESS PORT CONNECTIONS BYTES`
checks them, and tells as JSON what came and which errors there were.
"""
import hashlib
import json
import random
import socket
import sys
import threading

PIECE = 1000


def receive_exactly(connection, size):
    pieces = bytearray()
    while len(pieces) < size:
        piece = connection.recv(size - len(pieces))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def answer(connection):
    """What has been read is sent by another thread while this one goes on reading."""
    pending = []
    changed = threading.Condition()

    def send():
        while True:
            with changed:
                while not pending:
                    changed.wait()
                piece = pending.pop(0)
            if piece is None:
                break
            connection.sendall(piece[::-1])
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    while True:
        piece = receive_exactly(connection, PIECE)
        with changed:
            pending.append(piece or None)
            changed.notify()
        if not piece:
            break
    sender.join()
    connection.close()


def serve(address, port):
    listener = socket.create_server((address, port), backlog=64)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def ask(address, port, size, seed, told, lock):
    try:
        sent = random.Random(seed).randbytes(size)
        connection = socket.create_connection((address, port))

        def send():
            pauses = random.Random(seed + 1)
            offset = 0
            while offset < size:
                piece = pauses.randrange(1, 20000)
                connection.sendall(sent[offset : offset + piece])
                offset += piece
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = bytearray()
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
        sender.join()
        connection.close()
        wanted = b"".join(sent[i : i + PIECE][::-1] for i in range(0, size, PIECE))
        with lock:
            right = hashlib.sha256(got).digest() == hashlib.sha256(wanted).digest()
            told["right" if right else "wrong"] += 1
    except OSError as error:
        with lock:
            told["errors"].append(repr(error))


def run(address, port, connections, size):
    told = {"right": 0, "wrong": 0, "errors": []}
    lock = threading.Lock()
    threads = [
        threading.Thread(target=ask, args=(address, port, size, seed, told, lock)) for seed in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(told))


if __name__ == "__main__":
    command, address, port, *numbers = sys.argv[1:]
    if command == "serve":
        serve(address, int(port))
    else:
        run(address, int(port), *map(int, numbers))
