// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UnsupportedError } from "../util/unsupported-error.ts";

/** The same path from src/bench (tsx, vitest) and from dist/bench. */
const FOLDER = fileURLToPath(new URL("../../addon/build/Release/", import.meta.url));

export const LOAD_TOOL = `${FOLDER}shunt-load`;
export const ECHO_TOOL = `${FOLDER}shunt-echo`;

/** This program, as it was started. */
export const SHUNT: readonly string[] = [process.execPath, ...process.execArgv, process.argv[1] ?? ""];

/** Throws an UnsupportedError when the load generator or the echo server is not built. */
export function requireTools(): void {
  const missing = [LOAD_TOOL, ECHO_TOOL].filter((tool) => !existsSync(tool));
  if (missing.length > 0) throw new UnsupportedError(`${missing.join(" and ")} missing: run \`npm run build\``);
}
