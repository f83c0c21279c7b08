// SPDX-License-Identifier: Apache-2.0
/** What the tests of the native addon need from the machine: compiled BPF, a cgroup, children, deadlines. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NativeObject } from "../../src/native/addon.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import { check } from "../../src/native/status.ts";

export const addonPath = fileURLToPath(new URL("../../addon/build/Release/shunt.node", import.meta.url));
export const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Numbers of include/uapi/linux/bpf.h. */
export const MAP_HASH = 1;
export const MAP_ARRAY = 2;
export const MAP_PERCPU_HASH = 5;
export const MAP_LPM_TRIE = 11;
export const MAP_QUEUE = 22;
export const ATTACH_CONNECT4 = 10;
export const ATTACH_STREAM_VERDICT = 5;
export const ATTACH_SK_MSG = 7;
export const ATTACH_SK_LOOKUP = 36;

const HEADER = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
char _license[] SEC("license") = "Dual BSD/GPL";
`;

/** Compiles BPF C (after the usual includes and a licence) with clang and gives the object's bytes. */
export function compileBpf(source: string): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
  try {
    const input = join(directory, "test.bpf.c");
    const output = join(directory, "test.bpf.o");
    writeFileSync(input, HEADER + source);
    // The architecture's asm/ headers are in a directory that clang does not look into for the bpf target.
    const triple = execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
    const flags = ["-target", "bpf", "-mcpu=v2", "-O2", "-g", "-Wall", `-I/usr/include/${triple}`];
    execFileSync("clang", [...flags, "-c", input, "-o", output], { timeout: 60_000 * patience });
    return readFileSync(output);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export function openObject(bytes: Uint8Array): NativeObject {
  return check(loadAddon().openObject(bytes, "test"), "bpf_object__open");
}

/** Opens and loads, and throws with the verifier's log when that fails. */
export function loadObject(bytes: Uint8Array): NativeObject {
  const object = openObject(bytes);
  const { status, log } = object.load(0);
  if (status < 0) throw new Error(`load: ${status}\n${log}`);
  return object;
}

export function cgroup2Mount(): string {
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [mount, type] = line.split(" - ");
    if (type?.startsWith("cgroup2 ")) return mount?.split(" ")[4] ?? "";
  }
  throw new Error("no cgroup2 mount in /proc/self/mountinfo");
}

/** A cgroup of this test, removed by `remove` after its processes were moved back. */
export class TestCgroup {
  readonly path: string;
  readonly #parent: string;

  constructor(name: string) {
    this.#parent = cgroup2Mount();
    this.path = join(this.#parent, `shunt-test-${name}-${process.pid}`);
    mkdirSync(this.path);
  }

  enter(): void {
    writeFileSync(join(this.path, "cgroup.procs"), String(process.pid));
  }

  remove(): void {
    for (const pid of readFileSync(join(this.path, "cgroup.procs"), "utf8").split("\n").filter(Boolean)) {
      writeFileSync(join(this.#parent, "cgroup.procs"), pid);
    }
    rmdirSync(this.path);
  }
}

/** A directory with a bpffs of its own. */
export class TestBpffs {
  readonly path: string;

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    check(loadAddon().mount("bpf", this.path, "bpf", 0, ""), "mount", this.path);
  }

  remove(): void {
    check(loadAddon().unmount(this.path, 0), "umount", this.path);
    rmdirSync(this.path);
  }
}

/**
 * Runs CommonJS in another Node with `addon` loaded, to its end; as user and group `uid`, without privileges, from
 * then on. Only after loading, because that user may not be able to reach the folder of the project.
 */
export function inChild(
  code: string,
  options: { readonly uid?: number; readonly flags?: readonly string[]; readonly timeoutMs?: number } = {},
) {
  // libuv opens a spare descriptor with its first stream, so that one is made before anything is counted.
  const drop =
    options.uid === undefined
      ? ""
      : `process.setgroups([]); process.setgid(${options.uid}); process.setuid(${options.uid});`;
  const program = `process.stdout; const addon = require(${JSON.stringify(addonPath)}); ${drop}\n${code}`;
  const result = spawnSync(process.execPath, [...(options.flags ?? []), "-e", program], {
    encoding: "utf8",
    timeout: (options.timeoutMs ?? 20_000) * patience,
  });
  return { status: result.status, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

/** Resolves when `condition` holds, asking at each turn of the loop's timers; rejects at the deadline. */
export async function eventually(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = Date.now() + timeoutMs * patience;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function openFds(): number {
  return readdirSync("/proc/self/fd").length;
}

export function ownNetnsInode(): number {
  return statSync("/proc/thread-self/ns/net").ino;
}

export function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}
