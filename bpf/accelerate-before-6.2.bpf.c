// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The programs of acceleration for kernels that do not load the others. */
#define READS_BY_HELPER
#include "accelerate.bpf.c"
