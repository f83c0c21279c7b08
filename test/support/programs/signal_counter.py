# SPDX-License-Identifier: Apache-2.0
"""Counts the signals it gets and tells on SIGUSR2; ends with status 9 on SIGTERM, or with a line of its input."""
import os
import shutil
import signal
import sys

count = {}


def note(number, _frame):
    name = signal.Signals(number).name
    count[name] = count.get(name, 0) + 1
    if name == "SIGWINCH":
        size = shutil.get_terminal_size()
        name += f" {size.lines}x{size.columns}"
    os.write(1, f"got {name}\n".encode())


def tell(_number, _frame):
    os.write(1, f"counted {sorted(count.items())}\n".encode())


for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGCONT, signal.SIGWINCH):
    signal.signal(number, note)
signal.signal(signal.SIGUSR2, tell)
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
os.write(1, f"ready pid={os.getpid()}\n".encode())
line = sys.stdin.readline()
os.write(1, f"read {line.strip()}\n".encode())
sys.exit(5)
