# SPDX-License-Identifier: Apache-2.0
"""
A terminal with somebody at it: runs argv[2:] on a new pseudo-terminal and does the steps of the JSON in argv[1]:
["expect", REGEX], ["send", TEXT], ["resize", ROWS, COLUMNS], ["signal", REGEX with a pid, NAME], ["parent-signal", REGEX with a pid, NAME], ["stopped", REGEX with a pid].
Prints what the terminal showed and, at last, a line `status=N`; when something does not come in time, what every
process of the terminal was doing instead.
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
# For all of it, and less than a test has: whoever is late has to say what it waited for.
end = time.monotonic() + 40 * float(os.environ.get("SHUNT_PATIENCE", "1"))
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
shown = ""
seen = 0


def first_line(path):
    try:
        with open(path) as file:
            return file.readline().replace("\0", " ").strip()
    except OSError as error:
        return error.strerror


def doing():
    """A line for every process of the session, which has the pid of its leader."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = stat_of(process)
        except OSError:
            continue
        if int(stat[3]) != pid:
            continue
        for thread in os.listdir(f"/proc/{process}/task"):
            task = f"/proc/{process}/task/{thread}"
            where = [first_line(f"{task}/{name}") for name in ("wchan", "syscall", "cmdline")]
            yield f"{process}/{thread} state={stat[0]} pgrp={stat[2]} tpgid={stat[5]} {where}"


def fail(why):
    print("\n".join([shown, why, *doing()]), flush=True)
    # The terminal goes away: SIGHUP for everybody, and time to clean up after it.
    os.close(master)
    over = time.monotonic() + 5
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > over:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    sys.exit(1)


def read():
    global shown
    ready, _, _ = select.select([master], [], [], max(0, end - time.monotonic()))
    if not ready:
        fail("the time is over")
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
    if step == "expect":
        while not (match := re.compile(rest[0]).search(shown, seen)):
            if not read():
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
            if time.monotonic() > end:
                fail(f"{process} never stopped")
            time.sleep(0.005)
while read():
    pass
while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
    if time.monotonic() > end:
        fail("it closed the terminal and never ended")
    time.sleep(0.005)
_, status = ended
print(shown, flush=True)
print(f"status={os.waitstatus_to_exitcode(status)}")
