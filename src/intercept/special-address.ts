// SPDX-License-Identifier: Apache-2.0
/** Addresses that mean something by themselves, in canonical text; bpf/include/addr.h has the same. */

/** 127.0.0.0/8, ::1, and the unspecified addresses, which connect() takes for loopback. */
export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "0.0.0.0" || address === "::1" || address === "::";
}

/** What connect() takes for loopback. */
export function isUnspecified(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** fe80::/10: means nothing without the interface, which a redirected connection does not keep. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(address);
}

export function isLocalhost(address: string): boolean {
  return address === "127.0.0.1" || address === "::1";
}

export function isPassthrough(address: string): boolean {
  return address === "127.0.0.6" || address === "::6";
}
