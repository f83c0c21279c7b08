// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_ORACLE_WATCHDOG_H
#define SHUNT_ORACLE_WATCHDOG_H

#include <stdint.h>

/* Of all ends that live now. */
struct living {
	uint64_t count, sent, received;
};

void watchdog_start(double stall);
struct living watchdog_living(void);

#endif
