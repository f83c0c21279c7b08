// SPDX-License-Identifier: Apache-2.0
/**
 * The marks by which our own sockets are known. 0x539/0xfff is what ztunnel uses, so that Istio's tooling
 * understands what it sees; sockets that carry a client's address have one bit more, because the route that brings
 * their answers back must not catch the others.
 */
export const PROXY_MARK = 0x539;
export const PROXY_MARK_MASK = 0xfff;
export const PRESERVE_MARK = 0x1539;
export const PRESERVE_MARK_MASK = 0x1fff;
/** Routing table of those answers; the number is the mark's. */
export const PRESERVE_TABLE = 0x1539;
/** What Istio's sidecars bind to towards the application. */
export const PASSTHROUGH_ADDRESS = { 4: "127.0.0.6", 6: "::6" } as const;
