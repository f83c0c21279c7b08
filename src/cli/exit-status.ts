// SPDX-License-Identifier: Apache-2.0
/** Statuses the program ends with; those of `exec` are CMD's, and these where Shunt itself ends it. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** Not possible on this machine; EX_UNAVAILABLE of sysexits.h. */
  unavailable: 69,
  /** `rules validate`: connections pass by the proxy; as Istio's command, for whoever watches for that. */
  invalid: 126,
  /** `exec`: Shunt failed. As env(1) and timeout(1) have it, like the next two. */
  execFailed: 125,
} as const;
