// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { missingPlatforms } from "../../scripts/complete-lockfile.mjs";

/** Which folders of src each folder may import besides itself. The table is the architecture. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  util: [],
  native: ["util"],
  bpf: ["native", "util"],
  net: ["native", "util"],
  config: ["util"],
  telemetry: ["util"],
  // The data path knows no interception: agent hands it what it needs.
  proxy: ["net", "util"],
  // Nor does it know how bytes go past it.
  accelerate: ["bpf", "native", "net", "util"],
  dns: ["net", "native", "util"],
  intercept: ["bpf", "net", "native", "util"],
  admin: ["config", "util"],
  agent: ["accelerate", "admin", "bpf", "config", "dns", "intercept", "native", "net", "proxy", "telemetry", "util"],
  // Drives the built program, and asks the machine; knows nothing of how it works inside.
  bench: ["agent", "config", "util"],
  cli: ["agent", "bench", "config", "intercept", "util"],
  // It composes: the agent's actions go into the command line.
  "main.ts": ["agent", "bench", "cli"],
};

const root = resolve(import.meta.dirname, "../..");
const listed = (folder: string, pattern: RegExp): string[] =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
        .filter((file) => pattern.test(file) && !/(^|\/)(build|node_modules)\//.test(file))
        .map((file) => join(folder, file))
    : [];

const text = (file: string): string => readFileSync(join(root, file), "utf8");
const scripts = ["src", "test", "scripts", "vm"].flatMap((folder) => listed(folder, /\.(ts|mjs)$/));
const native = ["bpf", "addon"].flatMap((folder) => listed(folder, /\.(c|h|cc|hpp)$/));
const sources = scripts.filter((file) => file.startsWith("src/"));
const isGenerated = (file: string): boolean => file.includes("/generated/");

/** Top-level folder of src, or the name of a file that stands in src itself. */
const folderOf = (file: string): string => relative("src", file).split("/")[0] ?? "";

const relativeImport = /(?:\bfrom|\bimport)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g;

function imports(file: string): string[] {
  return [...text(file).matchAll(relativeImport)].map((match) =>
    relative(root, resolve(root, dirname(file), match[1] ?? "")),
  );
}

describe("imports", () => {
  it.each(sources)("%s imports only what its folder may", (file) => {
    const folder = folderOf(file);
    expect(Object.keys(mayImport), `src/${folder} is not in the table`).toContain(folder);
    const allowed = new Set([folder, ...(mayImport[folder] ?? [])]);
    expect(imports(file).filter((target) => !allowed.has(folderOf(target)))).toEqual([]);
  });

  it("of src never lead out of src", () => {
    const outside = sources.flatMap((file) => imports(file).filter((target) => !target.startsWith("src/")));
    expect(outside).toEqual([]);
  });
});

describe("every file", () => {
  it("begins with its licence", () => {
    const expected = (file: string) => (file.startsWith("bpf/") ? "GPL-2.0-only OR BSD-2-Clause" : "Apache-2.0");
    const head = (file: string) => text(file).split("\n").slice(0, 2).join("\n");
    const wrong = [...scripts, ...native].filter(
      (file) => !head(file).includes(`SPDX-License-Identifier: ${expected(file)}`),
    );
    expect(wrong).toEqual([]);
  });

  it("has at most 400 lines", () => {
    const long = [...scripts, ...native].filter((file) => !isGenerated(file) && text(file).split("\n").length > 401);
    expect(long).toEqual([]);
  });

  it("is named in kebab-case for the thing in it", () => {
    const vague = new Set(["utils.ts", "helpers.ts", "common.ts", "types.ts", "index.ts"]);
    const wrong = scripts.filter((file) => {
      const name = basename(file);
      return (
        (vague.has(name) && !isGenerated(file)) || !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.bench)?\.(ts|mjs)$/.test(name)
      );
    });
    expect(wrong).toEqual([]);
  });

  it("replaces no module by a mock", () => {
    const forbidden = new RegExp(["vi", "(mock|doMock|hoisted)\\("].join("\\."));
    expect(scripts.filter((file) => forbidden.test(text(file)))).toEqual([]);
  });
});

describe("the lockfile", () => {
  it("names no registry", () => {
    expect(text("package-lock.json")).not.toMatch(/"resolved": "https?:/);
  });

  it("has an entry for every platform, as npm ci demands (node scripts/complete-lockfile.mjs)", () => {
    expect(missingPlatforms(JSON.parse(text("package-lock.json")))).toEqual([]);
  });

  it("and package.json pin exact versions", () => {
    const manifest = JSON.parse(text("package.json")) as Record<string, Record<string, string> | undefined>;
    const versions = Object.entries({ ...manifest["dependencies"], ...manifest["devDependencies"] });
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });
});
