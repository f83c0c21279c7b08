// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_ORACLE_LISTENERS_H
#define SHUNT_ORACLE_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

struct listener {
	int fd;
	uint8_t kind;
};

/*
 * Opens LISTENERS ports in a row, the first of which it returns; dies when they are taken. `defer`:
 * those meant for it are accepted when data has come.
 */
uint16_t open_listeners(struct listener *listeners, bool defer);

#endif
