// SPDX-License-Identifier: Apache-2.0

import { isIP } from "node:net";
import { canonicalIp } from "../util/ip.ts";
import type { ListenAddress } from "./model.ts";

/** "ADDRESS:PORT", "[IPV6]:PORT", "localhost:PORT", ":PORT" or a port alone; without an address 127.0.0.1. */
export function parseListenAddress(value: string | number): ListenAddress | undefined {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(String(value));
  if (match === null) return undefined;
  const [, v6, v4, digits] = match;
  const port = Number(digits);
  const address = v6 ?? (v4 === undefined || v4 === "" || v4 === "localhost" ? "127.0.0.1" : v4);
  if (port > 65_535 || isIP(address) !== (v6 === undefined ? 4 : 6) || address.includes("%")) return undefined;
  return { address: canonicalIp(address), port };
}
