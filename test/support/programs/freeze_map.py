# SPDX-License-Identifier: Apache-2.0
"""Freezes the pinned BPF map argv[1]: from then on the kernel refuses every change of it from outside (BPF_MAP_FREEZE, 5.2)."""
import ctypes
import os
import platform
import struct
import sys

BPF_OBJ_GET = 7
BPF_MAP_FREEZE = 22
NUMBER = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attr):
    result = libc.syscall(NUMBER, command, attr, len(attr))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


path = ctypes.create_string_buffer(os.fsencode(sys.argv[1]))
fd = bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(path), 0, 0))
bpf(BPF_MAP_FREEZE, struct.pack("I", fd))
