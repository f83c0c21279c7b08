// SPDX-License-Identifier: Apache-2.0
const MAX_MARK = 0xffff_ffff;

/** A socket mark as iptables writes it: 1337, "0x539" or "0x539/0xfff"; without a mask all 32 bits count. */
export function parseMark(input: string | number): { readonly value: number; readonly mask: number } | undefined {
  const match = /^(0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+|\d+))?$/i.exec(String(input));
  if (match === null) return undefined;
  const value = Number(match[1]);
  const mask = match[2] === undefined ? MAX_MARK : Number(match[2]);
  if (value === 0 || value > MAX_MARK || mask > MAX_MARK) return undefined;
  // A value with bits outside its mask can never match.
  return (value & mask) >>> 0 === value ? { value, mask } : undefined;
}
