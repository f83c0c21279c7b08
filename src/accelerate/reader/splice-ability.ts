// SPDX-License-Identifier: Apache-2.0
import { ElfError, ElfImage } from "./elf-image.ts";

/**
 * Whether a file's code can call splice(2). `unknown`: linked statically and stripped, or not understood.
 * Raw system calls are not seen.
 */
export type SpliceAbility = "none" | "may-splice" | "unknown";

/** In the table of Go's function names, which also a stripped program has: internal/poll.Splice, unix.Splice. */
const GO_NAMES = [".Splice\0", ".splice\0"];

/** What a file is to the process that has mapped it. */
export type FileRole = "executable" | "library";

/** The descriptor stays the caller's. Throws a SystemError where the file cannot be read. */
export function spliceAbility(fd: number, role: FileRole): SpliceAbility {
  try {
    const image = new ElfImage(fd);
    if (image.imports("splice")) return "may-splice";
    if (image.section(".go.buildinfo")) return goAbility(image);
    // A library needs none where the program has brought all.
    if (image.needsLibraries || (role === "library" && image.isDynamic)) return "none";
    const defined = image.defines("splice");
    if (defined !== undefined) return defined ? "may-splice" : "none";
    return "unknown";
  } catch (error) {
    if (error instanceof ElfError || error instanceof RangeError) return "unknown";
    throw error;
  }
}

function goAbility(image: ElfImage): SpliceAbility {
  const table = image.section("gopclntab");
  if (!table) return "unknown";
  const functions = image.read(table);
  return GO_NAMES.some((name) => functions.includes(name)) ? "may-splice" : "none";
}
