// SPDX-License-Identifier: Apache-2.0
interface Line {
  readonly time: string;
  readonly level: string;
  readonly msg: string;
  readonly component?: string;
  readonly err?: unknown;
  readonly [field: string]: unknown;
}

/** The text form of one JSON log line: `2026-11-20T10:00:00.000Z info  workers: worker lost worker=2 code=ERR_X`. */
export function formatLogLine(json: string): string {
  const { time, level, component, msg, err, ...fields } = JSON.parse(json) as Line;
  const parts = [time, level.padEnd(5), component === undefined ? msg : `${component}: ${msg}`];
  for (const [key, value] of Object.entries(fields)) parts.push(`${key}=${formatValue(value)}`);
  if (err !== undefined) parts.push(...formatError(err));
  return `${parts.join(" ")}\n`;
}

/** Bare where it is one word; quoted otherwise, so that a value can't forge a field or a line. */
function formatValue(value: unknown): string {
  if (typeof value === "string" && /^[\w.:/@[\]+*-]+$/.test(value)) return value;
  return JSON.stringify(value) ?? "undefined";
}

function formatError(err: unknown): string[] {
  if (typeof err !== "object" || err === null) return [`err=${formatValue(err)}`];
  const { message, code, stack } = err as Record<string, unknown>;
  const parts = [`err=${formatValue(message)}`];
  if (code !== undefined) parts.push(`code=${formatValue(code)}`);
  // A deliberate failure explains itself; only a stranger's needs the place it came from.
  if (code === undefined && typeof stack === "string") parts.push(`stack=${formatValue(stack)}`);
  return parts;
}
