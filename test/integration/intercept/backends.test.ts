// SPDX-License-Identifier: Apache-2.0
/** The four back-ends by the one interface that they have in common. */
import { expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import type { BackendName } from "../../../src/intercept/backend.ts";
import { BACKENDS } from "../../../src/intercept/backends.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { patienceMs } from "../../support/inbox.ts";
import { NetLab } from "../../support/net-lab.ts";
import { anInbound, anOutbound, aSpec } from "../../unit/intercept/iptables/iptables-specs.ts";

const NEEDED: Readonly<Record<BackendName, string | undefined>> = {
  ebpf: undefined,
  iptables: "iptables-restore",
  tproxy: "iptables-restore",
  nftables: "nft",
};

it.for(Object.values(BACKENDS))(
  "$name works here, is adopted only as it was applied, and leaves nothing",
  { timeout: patienceMs(120_000) },
  async (backend, context) => {
    const needed = NEEDED[backend.name];
    context.skip(needed !== undefined && findCommand(needed) === undefined, `without the program ${needed}`);
    using lab = new NetLab("backends");
    const { path } = lab.client;
    const spec: InterceptSpec = aSpec({
      target: { kind: "netns", path },
      outbound: anOutbound({}),
      inbound: anInbound(),
    });
    const other: InterceptSpec = { ...spec, outbound: anOutbound({ excludePorts: [22] }) };
    expect(await backend.probe(path)).toMatchObject({ ok: true });
    expect(await backend.adopt(spec)).toBeUndefined();
    expect(await backend.findOurs(path)).toEqual([]);
    try {
      expect(await backend.apply(spec)).toMatchObject({ name: spec.name, netnsPath: path, changed: true });
      expect(await backend.findOurs(path)).toEqual([spec.name]);
      expect(await backend.verify(spec)).toEqual([]);
      expect(await backend.adopt(spec)).toMatchObject({ name: spec.name, netnsPath: path, changed: false });
      expect(await backend.apply(spec)).toMatchObject({ changed: false });
      // Another policy than what is there: nothing is adopted, and nothing touched.
      expect(await backend.adopt(other)).toBeUndefined();
      expect(await backend.verify(other)).not.toEqual([]);
      expect(await backend.verify(spec)).toEqual([]);
    } finally {
      expect(await backend.remove(path, spec.name)).toBe(true);
    }
    expect(await backend.remove(path, spec.name)).toBe(false);
    expect(await backend.findOurs(path)).toEqual([]);
  },
);
