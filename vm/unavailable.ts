// SPDX-License-Identifier: Apache-2.0

/** Something a VM needs cannot be had here; the message names it. The caller skips, or exits with 69. */
export class VmUnavailable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "VmUnavailable";
  }
}
