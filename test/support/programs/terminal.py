# SPDX-License-Identifier: Apache-2.0
"""
A terminal with somebody at it: runs argv[2:] on a new pseudo-terminal and does the steps of the JSON in argv[1]:
["expect", REGEX], ["send", TEXT], ["resize", ROWS, COLUMNS], ["signal", REGEX with a pid, NAME], ["parent-signal", REGEX with a pid, NAME], ["stopped", REGEX with a pid].
Prints what the terminal showed and, at last, a line `status=N`.
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

steps = json.loads(sys.argv[1])
patience = 30 * float(os.environ.get("SHUNT_PATIENCE", "1"))
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
shown = ""
seen = 0


def fail(why):
    print(f"{shown}\n{why}", flush=True)
    os.kill(pid, signal.SIGKILL)
    sys.exit(1)


def read(deadline):
    global shown
    ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
    if not ready:
        return False
    try:
        data = os.read(master, 65536)
    except OSError:
        return False
    shown += data.decode(errors="replace")
    return bool(data)


def stat_of(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()


for step, *rest in steps:
    deadline = time.monotonic() + patience
    if step == "expect":
        while not (match := re.compile(rest[0]).search(shown, seen)):
            if not read(deadline):
                fail(f"never showed {rest[0]}")
        seen = match.end()
    elif step == "send":
        os.write(master, rest[0].encode())
    elif step == "resize":
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rest[0], rest[1], 0, 0))
    elif step == "signal":
        os.kill(int(re.search(rest[0], shown).group(1)), getattr(signal, rest[1]))
    elif step == "parent-signal":
        os.kill(int(stat_of(re.search(rest[0], shown).group(1))[1]), getattr(signal, rest[1]))
    elif step == "stopped":
        process = int(re.search(rest[0], shown).group(1))
        while stat_of(process)[0] != "T":
            if time.monotonic() > deadline:
                fail(f"{process} never stopped")
            time.sleep(0.005)
while read(time.monotonic() + patience):
    pass
_, status = os.waitpid(pid, 0)
print(shown, flush=True)
print(f"status={os.waitstatus_to_exitcode(status)}")
