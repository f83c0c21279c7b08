// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Never loaded. Its BTF carries to TypeScript what no map mentions: clang describes only types that
 * a function, a variable or a map uses, and the bits of workload.flags and owners are used as plain
 * numbers. Requests to `advance` and `hand_over` come as packets.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "types.h"

enum workload_flag layout_workload_flag;
enum owner_flag layout_owner_flag;
struct accel_request layout_accel_request;
struct look_request layout_look_request;
struct splice_request layout_splice_request;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
