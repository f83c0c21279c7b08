// SPDX-License-Identifier: Apache-2.0
/** Values as Go's strconv and time packages read them; undefined for what they refuse. */

/** strconv.ParseBool. */
export function parseGoBool(text: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  return ["0", "f", "F", "FALSE", "false", "False"].includes(text) ? false : undefined;
}

/** strconv.ParseUint with base 0 and 16 bits: decimal, 0x, 0o, 0b, and a leading 0 for octal. */
export function parseGoUint16(text: string): number | undefined {
  const octal = /^0[0-7]+$/.test(text);
  if (!octal && !/^(0|[1-9]\d*|0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+)$/.test(text)) return undefined;
  const value = octal ? Number.parseInt(text, 8) : Number(text);
  return value <= 0xffff ? value : undefined;
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** time.ParseDuration, in milliseconds: "1h15m30.918s", "-1.5h", "0". */
export function parseGoDuration(text: string): number | undefined {
  const [, sign = "", rest = ""] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  if (rest === "0") return 0;
  const part = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gu;
  if (rest === "" || rest.replace(part, "") !== "") return undefined;
  let total = 0;
  for (const [, amount, unit] of rest.matchAll(part)) total += Number(amount) * (MS_PER_UNIT[unit ?? ""] ?? Number.NaN);
  // An int64 of nanoseconds.
  if (total > 9_223_372_036_854) return undefined;
  return sign === "-" ? -total : total;
}
