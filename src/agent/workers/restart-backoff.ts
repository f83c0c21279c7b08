// SPDX-License-Identifier: Apache-2.0
/** A thread that lived so long was healthy: its death starts the count anew. */
const HEALTHY_MS = 10_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;

/** How long to wait before a dead thread is replaced: not at all the first time, then longer and longer. */
export class RestartBackoff {
  #quickDeaths = 0;

  next(livedMs: number): number {
    if (livedMs >= HEALTHY_MS) this.#quickDeaths = 0;
    const deaths = this.#quickDeaths++;
    return deaths === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (deaths - 1));
  }
}
