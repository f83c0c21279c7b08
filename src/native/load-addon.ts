// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { ShuntError } from "../util/shunt-error.ts";
import type { NativeAddon } from "./addon.ts";

/** The oldest libbpf whose calls the addon uses; binding.gyp checks the same at build. */
const MINIMUM_LIBBPF = "1.1";

/** The addon cannot be used; the message is one sentence that says what to do. */
export class AddonError extends ShuntError<"ERR_ADDON_NOT_BUILT" | "ERR_ADDON_LIBBPF" | "ERR_ADDON_LOAD"> {}

/** The same path from src/native (tsx, vitest) and from dist/native. */
export const ADDON_PATH = fileURLToPath(new URL("../../addon/build/Release/shunt.node", import.meta.url));

let loaded: NativeAddon | undefined;

/**
 * The native addon of this thread, loaded at the first call. Throws AddonError where it is not built, does
 * not load, or the system's libbpf is older than 1.1.
 */
export function loadAddon(): NativeAddon {
  loaded ??= loadAddonFrom(ADDON_PATH);
  return loaded;
}

/** Loads the addon from a path; for the tests, which load two copies. */
export function loadAddonFrom(path: string): NativeAddon {
  if (!existsSync(path)) {
    throw new AddonError("ERR_ADDON_NOT_BUILT", `the native addon ${path} is not built: run \`npm run build\``);
  }
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (error) {
    throw explainLoadFailure(path, error);
  }
  const found = addon.versions.libbpf;
  if (!isAtLeast(found, MINIMUM_LIBBPF)) {
    throw new AddonError("ERR_ADDON_LIBBPF", `the system's libbpf is ${found}, Shunt needs ${MINIMUM_LIBBPF} or newer`);
  }
  return addon;
}

/** The dynamic linker's refusal as one sentence; it refuses a missing and a too old libbpf by itself. */
function explainLoadFailure(path: string, cause: unknown): AddonError {
  const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
  if (/libbpf/i.test(reason)) {
    return new AddonError(
      "ERR_ADDON_LIBBPF",
      `Shunt needs the system's libbpf ${MINIMUM_LIBBPF} or newer (package libbpf1): ${reason}`,
      { cause },
    );
  }
  return new AddonError("ERR_ADDON_LOAD", `the native addon ${path} does not load: ${reason}`, { cause });
}

/** Compares "major.minor" texts. */
export function isAtLeast(version: string, minimum: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [minimumMajor = 0, minimumMinor = 0] = minimum.split(".").map(Number);
  return major > minimumMajor || (major === minimumMajor && minor >= minimumMinor);
}
