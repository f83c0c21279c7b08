// SPDX-License-Identifier: Apache-2.0
/** IFNAMSIZ of linux/if.h, less the byte that ends it. */
export const MAX_INTERFACE_NAME = 15;

/** Whether the kernel would take it (dev_valid_name in net/core/dev.c); `+` and `*` are letters like others to it. */
export function isInterfaceName(text: string): boolean {
  return text !== "" && text.length <= MAX_INTERFACE_NAME && /^[^\s/:]+$/.test(text);
}
