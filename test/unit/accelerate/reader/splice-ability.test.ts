// SPDX-License-Identifier: Apache-2.0
/** Real programs of this machine, and files that only pretend. */
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCommand } from "../../../../scripts/setup/machine.mjs";
import { type FileRole, spliceAbility } from "../../../../src/accelerate/reader/splice-ability.ts";
import { runCommand } from "../../../support/shunt.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-elf-`));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function abilityOf(path: string, role: FileRole = "executable") {
  const fd = openSync(path, "r");
  try {
    return spliceAbility(fd, role);
  } finally {
    closeSync(fd);
  }
}

async function compile(name: string, source: string, argv: readonly string[]): Promise<string> {
  const [text, path] = [join(folder, source), join(folder, name)];
  const { status, stderr } = await runCommand([...argv, path, text], { cwd: folder, deadlineMs: 180_000 });
  if (status !== 0) throw new Error(stderr);
  return path;
}

const C_SPLICES = `#define _GNU_SOURCE
#include <fcntl.h>
int main(void) { return splice(0, 0, 1, 0, 1, 0) != 0; }`;
// Linkers let the shorter name share the end of the longer one.
const C_VMSPLICES = `#define _GNU_SOURCE
#include <fcntl.h>
int main(void) { return vmsplice(1, 0, 0, 0) != 0; }`;

const compiler = findCommand("cc");
describe.skipIf(compiler === undefined)(
  `C programs${compiler === undefined ? " (skipped without the program cc)" : ""}`,
  () => {
    beforeAll(() => {
      writeFileSync(join(folder, "splices.c"), C_SPLICES);
      writeFileSync(join(folder, "vmsplices.c"), C_VMSPLICES);
    });

    const cases: readonly (readonly [string, string, readonly string[], FileRole, string])[] = [
      ["that import splice", "splices.c", [], "executable", "may-splice"],
      ["that import vmsplice", "vmsplices.c", [], "executable", "none"],
      ["that are stripped", "splices.c", ["-s"], "executable", "may-splice"],
      ["that are stripped and import vmsplice", "vmsplices.c", ["-s"], "executable", "none"],
      ["that are static and contain splice", "splices.c", ["-static"], "executable", "may-splice"],
      ["that are static and contain vmsplice", "vmsplices.c", ["-static"], "executable", "none"],
      ["that are static and stripped", "vmsplices.c", ["-static", "-s"], "executable", "unknown"],
      ["that are static, stripped and placed anywhere", "vmsplices.c", ["-static-pie", "-s"], "executable", "unknown"],
      ["built as a library without a library", "vmsplices.c", ["-shared", "-fPIC", "-nostdlib"], "library", "none"],
      ["built as a library that imports splice", "splices.c", ["-shared", "-fPIC"], "library", "may-splice"],
    ];
    it.each(cases)("%s", async (title, source, flags, role, expected) => {
      const path = await compile(title.replaceAll(/\W/g, "-"), source, ["cc", ...flags, "-o"]);
      expect(abilityOf(path, role)).toBe(expected);
    });

    it("without section headers, whose exact imports are not known any more", async () => {
      const path = await compile("headless", "splices.c", ["cc", "-s", "-o"]);
      const bytes = readFileSync(path);
      bytes.fill(0, 40, 48);
      bytes.fill(0, 58, 64);
      writeFileSync(path, bytes);
      expect(abilityOf(path)).toBe("may-splice");
    });

    it("damaged at any place never get a hang, a crash or an answer by guess", async () => {
      const whole = readFileSync(await compile("damaged", "splices.c", ["cc", "-s", "-o"]));
      const path = join(folder, "part");
      fc.assert(
        fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (length) => {
          writeFileSync(path, whole.subarray(0, length));
          expect(abilityOf(path)).toBe("unknown");
        }),
        { numRuns: 60 },
      );
      // Headers that lie: any answer but a thrown error of the reader's own is a verdict.
      fc.assert(
        fc.property(fc.integer({ min: 4, max: 63 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
          const bytes = Buffer.from(whole);
          bytes[at] = value;
          writeFileSync(path, bytes);
          expect(["may-splice", "unknown"]).toContain(abilityOf(path));
        }),
        { numRuns: 300 },
      );
    });
  },
);

const go = findCommand("go");
describe.skipIf(go === undefined)(`Go programs${go === undefined ? " (skipped without the program go)" : ""}`, () => {
  const build = async (name: string, source: string, ...flags: string[]): Promise<string> => {
    writeFileSync(join(folder, `${name}.go`), source);
    return compile(name, `${name}.go`, ["go", "build", "-trimpath", ...flags, "-o"]);
  };
  const quiet = `package main
func main() { println("nothing") }`;

  it("that copy between connections, as the command go itself", () => {
    expect(abilityOf(go ?? "")).toBe("may-splice");
  });

  it("that know no connection", async () => {
    expect(abilityOf(await build("quiet", quiet, "-ldflags=-s -w"))).toBe("none");
  }, 240_000);
});

describe("files", () => {
  it("node polls and reads", () => {
    expect(abilityOf(process.execPath)).toBe("none");
  });

  it.each([
    ["text", "#!/bin/sh\n"],
    ["nothing at all", ""],
    ["the beginning of a program", "\x7fELF"],
  ])("%s are no program", (_, content) => {
    const path = join(folder, "no-program");
    writeFileSync(path, content);
    expect(abilityOf(path)).toBe("unknown");
  });

  it("one of the other byte order is not understood", () => {
    const path = join(folder, "big-endian");
    copyFileSync(existsSync("/bin/true") ? "/bin/true" : process.execPath, path);
    const bytes = readFileSync(path);
    bytes[5] = 2;
    writeFileSync(path, bytes);
    expect(abilityOf(path)).toBe("unknown");
  });
});
