// SPDX-License-Identifier: Apache-2.0
/** One build of the addon and of the program, in every major version of Node that is supported. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ProbeReport } from "../../../src/config/formats/probe.ts";
import { addonPath } from "../../support/addon-fixture.ts";
import { NODE_RELEASES, nodeRelease } from "../../support/node-releases.ts";
import { runCommand } from "../../support/shunt.ts";

const ROOT = join(import.meta.dirname, "../../..");
const OBJECT = join(ROOT, "bpf/build/connect.bpf.o");
const PROBE = [join(ROOT, "dist/main.js"), "probe", "--json"];

/** Loads programs, makes a map's entry and a socket, and says what came of it. */
const SCRIPT = `
const addon = require(${JSON.stringify(addonPath)});
const object = addon.openObject(require("node:fs").readFileSync(${JSON.stringify(OBJECT)}), "shunt_test");
const { status, log } = object.load(0);
const map = addon.createMap({ type: 1, name: "shunt_test", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 });
const key = Uint8Array.of(1, 2, 3, 4);
map.update(key, Uint8Array.of(5, 6, 7, 8), 0);
const fd = addon.listen({ address: "127.0.0.1", port: 0, type: "stream" });
const { address } = addon.localAddress(fd);
addon.closeFd(fd);
const programs = object.programs().map(({ name }) => name);
const names = [typeof addon.versions.libbpf, status, log, [...map.lookup(key)], address];
console.log(JSON.stringify({ node: process.version, programs, names }));
`;

describe.each(NODE_RELEASES.map((version) => ({ version, major: Number.parseInt(version, 10) })))(
  "in Node $major",
  ({ version, major }) => {
    // The one that runs this file needs no download.
    const release = major === Number.parseInt(process.versions.node, 10) ? own : () => nodeRelease(version);

    it("the addon that this Node's build made loads programs, keeps a map and opens a socket", async (context) => {
      const node = await release();
      if (!node.ok) return context.skip(node.reason);
      const { status, stdout, stderr } = await runCommand([node.command, "-e", SCRIPT]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const told = JSON.parse(stdout) as { node: string; programs: string[]; names: unknown[] };
      expect(told.node.startsWith(`v${major}.`)).toBe(true);
      expect(told.programs.length).toBeGreaterThan(0);
      expect(told.names).toEqual(["string", 0, "", [5, 6, 7, 8], "127.0.0.1"]);
    });

    it("the built program probes, and finds what it finds in this Node", async (context) => {
      const node = await release();
      if (!node.ok) return context.skip(node.reason);
      const probed = async (command: string): Promise<ProbeReport> => {
        const { status, stdout, stderr } = await runCommand([command, ...PROBE]);
        expect([0, 69], stderr).toContain(status);
        return JSON.parse(stdout) as ProbeReport;
      };
      const here = await probed(process.execPath);
      expect(await probed(node.command)).toMatchObject({ mode: here.mode, features: here.features });
    });
  },
);

async function own(): Promise<{ ok: true; command: string }> {
  return { ok: true, command: process.execPath };
}
