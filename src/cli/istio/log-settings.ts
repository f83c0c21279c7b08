// SPDX-License-Identifier: Apache-2.0
/** Istio's logging flags (istio.io/istio/pkg/log) in terms of ours. */
import type { LogFormat, LogLevel } from "../../util/log.ts";
import { FlagError } from "./flag-error.ts";
import type { FlagValues } from "./flag-values.ts";

export interface LogSettings {
  /** Undefined: nothing is logged. */
  readonly level: LogLevel | undefined;
  readonly format: LogFormat;
  /** "stdout", "stderr", or a file that is appended to. */
  readonly target: string;
}

const LEVELS: Readonly<Record<string, LogLevel | undefined>> = {
  debug: "debug",
  info: "info",
  warn: "warn",
  error: "error",
  fatal: "error",
  none: undefined,
};

export function parseLogSettings(flags: FlagValues): LogSettings {
  const { text, origin } = flags.get("log_output_level");
  const target = flags.text("log_target");
  return {
    level: levelOf(text, origin),
    format: flags.isOn("log_as_json") ? "json" : "text",
    target: target === "" ? "stderr" : target,
  };
}

/** "info", "default:info", "all:debug", or a list of them of which the scopes of Istio's own libraries are passed over. */
function levelOf(text: string, field: string): LogLevel | undefined {
  let level: LogLevel | undefined = "info";
  for (const part of text.split(",").filter((p) => p !== "")) {
    const words = part.split(":");
    const name = words.at(-1) ?? "";
    if (words.length > 2 || !(name in LEVELS)) {
      throw new FlagError(
        `${field} ${JSON.stringify(text)}: ${JSON.stringify(part)} is not LEVEL or SCOPE:LEVEL with a level of ${Object.keys(LEVELS).join(", ")}`,
      );
    }
    if (words.length === 1 || words[0] === "default" || words[0] === "all") level = LEVELS[name];
  }
  return level;
}
