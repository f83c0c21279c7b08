# SPDX-License-Identifier: Apache-2.0
"""Blocking programs, one thread a direction; see test/integration/acceleration/splice.test.ts.

blocking_peer.py serve MODE ADDRESS PORT
  MODE  echo         sends back what comes
        hang-up      answers ROUNDS requests, ends its half, reads on to the end and prints how much and what
        idle         answers ROUNDS requests, then reads nothing until stdin gets a line, and the rest after that
blocking_peer.py call MODE ADDRESS PORT
  MODE  threads      one thread sends at random, another compares what comes back
        hang-up      ROUNDS requests, then what it still sends after the server's end, with its digest
        idle         sends until nothing is taken for a second, tells how much, ends its half
        wait         ROUNDS requests, tells that it is done, and tells how the connection ends
"""
import hashlib, random, socket, sys, threading

ROUNDS = 400
SIZE = 100
LATE = 300_000
role, mode, address, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def tell(text):
    print(text, flush=True)


def exactly(connection, size):
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError(f"{len(parts)} of {size}")
        parts += part
    return bytes(parts)


def to_the_end(connection):
    total, digest = 0, hashlib.sha256()
    while part := connection.recv(65536):
        total += len(part)
        digest.update(part)
    return total, digest.hexdigest()


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if mode == "echo":
        while part := connection.recv(65536):
            connection.sendall(part)
    else:
        for _ in range(ROUNDS):
            connection.sendall(exactly(connection, SIZE))
        if mode == "hang-up":
            connection.shutdown(socket.SHUT_WR)
        else:
            sys.stdin.readline()
        tell("got %d %s" % to_the_end(connection))
    connection.close()


def converse(connection, rounds=ROUNDS):
    for number in range(rounds):
        request = bytes([number % 256]) * SIZE
        connection.sendall(request)
        if exactly(connection, SIZE) != request:
            raise ValueError(f"wrong answer {number}")


def threads(connection):
    converse(connection)
    sent, came, problems = hashlib.sha256(), [], []

    def receive():
        try:
            came.append(to_the_end(connection)[1])
        except OSError as error:
            problems.append(repr(error))

    receiver = threading.Thread(target=receive)
    receiver.start()
    generator = random.Random(port)
    for _ in range(400):
        block = generator.randbytes(generator.choice([1, 10, 100, 1000, 5000, 30000]))
        sent.update(block)
        connection.sendall(block)
    connection.shutdown(socket.SHUT_WR)
    receiver.join()
    tell("same" if came == [sent.hexdigest()] else f"different {problems}")


def call(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if mode == "threads":
        return threads(connection)
    converse(connection)
    if mode == "hang-up":
        rest = connection.recv(1)
        late = random.Random(port).randbytes(LATE)
        connection.sendall(late)
        tell("sent %d %s %d" % (len(late), hashlib.sha256(late).hexdigest(), len(rest)))
    elif mode == "idle":
        connection.settimeout(1)
        total, digest, block = 0, hashlib.sha256(), random.Random(port).randbytes(4096)
        try:
            while total < 1 << 28:
                taken = connection.send(block)
                digest.update(block[:taken])
                total += taken
        except TimeoutError:
            pass
        tell(f"sent {total} {digest.hexdigest()}")
        connection.shutdown(socket.SHUT_WR)
        to_the_end(connection)
    elif mode == "wait":
        tell("done")
        try:
            tell("got %d" % to_the_end(connection)[0])
        except OSError as error:
            tell(type(error).__name__)


if role == "serve":
    with socket.create_server((address, port)) as listener:
        tell("ready")
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],)).start()
else:
    with socket.create_connection((address, port)) as connection:
        tell("ready")
        call(connection)
