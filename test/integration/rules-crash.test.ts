// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { tproxyBackend } from "../../src/intercept/tproxy/backend.ts";
import { patienceMs } from "../support/inbox.ts";
import { rulesOf, whyUnusable } from "../support/iptables-save.ts";
import { ALL_MODES } from "../support/modes.ts";
import { ip, NetLab } from "../support/net-lab.ts";
import { KillingPrograms } from "../support/wrapped-programs.ts";
import { anInbound, anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

const PROGRAM = join(import.meta.dirname, "../support/programs/apply-rules.mjs");
const PROGRAMS = ["iptables-restore", "ip6tables-restore", "iptables-legacy-restore", "ip6tables-legacy-restore", "ip"];
/** More changes than any of these take; the loops end when nothing was killed. */
const MOST = 40;
/** Behind every change; by itself behind every other one, with one flavour of iptables those that the other leaves out. */
const STEP = ALL_MODES ? 1 : 2;

type Name = "iptables" | "tproxy";

describe.each(["nft", "legacy"] as const)(
  "a process that is killed while it changes rules of iptables-%s",
  (flavour) => {
    const parts: Disposable[] = [];
    let lab: NetLab;
    let killing: KillingPrograms;
    let spec: InterceptSpec;
    const first = flavour === "nft" ? 1 : STEP;

    beforeEach(async (context) => {
      const missing = await whyUnusable(flavour);
      context.skip(missing !== undefined, missing);
      lab = new NetLab("kill");
      killing = new KillingPrograms(PROGRAMS);
      parts.push(lab, killing);
      // Where anybody has rules, ours go.
      ip("netns", "exec", lab.client.netns, `iptables-${flavour}`, "-A", "FORWARD", "-d", "192.0.2.1", "-j", "DROP");
      spec = aSpec({
        target: { kind: "netns", path: lab.client.path },
        outbound: anOutbound({ dns: { kind: "all", port: 15053 } }),
        inbound: anInbound(),
      });
    });

    afterEach(() => {
      for (const part of parts.splice(0)) part[Symbol.dispose]();
    });

    /** False when it came to its end before the nth change. */
    function killedAfter(changes: number, backend: Name, action: "apply" | "remove", given: unknown): boolean {
      killing.reset();
      const argv = [PROGRAM, backend, action, JSON.stringify(given)];
      const env = killing.environment(changes);
      const { signal, status, stderr } = spawnSync(process.execPath, argv, { env, timeout: patienceMs(30_000) });
      if (signal === null) expect(status, String(stderr)).toBe(0);
      else expect(killing.changes).toBe(changes);
      return signal === "SIGKILL";
    }

    function everything(): string {
      const shown = (family: string, ...what: string[]): string => {
        try {
          return ip("-n", lab.client.netns, family, ...what);
        } catch {
          // Nobody has put a route into that table.
          return "";
        }
      };
      const routing = ["-4", "-6"].flatMap((family) => [
        shown(family, "rule", "show"),
        shown(family, "route", "show", "table", "9530"),
      ]);
      return [rulesOf(lab.client.path, flavour), ...routing].join("\n");
    }

    it("leaves what the next apply completes and a removal takes away, wherever it was", async () => {
      const before = everything();
      let changes = first;
      for (let turn = 0; changes < MOST && killedAfter(changes, "tproxy", "apply", spec); changes += STEP) {
        // Half of the times by a removal alone, as `clean` does it.
        if (turn++ % 2 === 0) {
          const applied = await tproxyBackend.apply(spec);
          expect(await applied.verify(), `killed after ${changes}`).toEqual([]);
        }
        await iptablesBackend.remove(lab.client.path, "web");
        expect(everything(), `killed after ${changes}`).toBe(before);
      }
      // Two routes, two rules, three tables of each family; the last kill is that of the end.
      expect(changes).toBeGreaterThan(9);
      await tproxyBackend.remove(lab.client.path, "web");
    });

    it("leaves what the next apply of either kind puts right, when it replaced something", async () => {
      await iptablesBackend.apply(spec);
      const redirect = everything();
      let changes = first;
      for (; changes < MOST && killedAfter(changes, "tproxy", "apply", spec); changes += STEP) {
        await iptablesBackend.apply(spec);
        expect(await iptablesBackend.verify(spec), `killed after ${changes}`).toEqual([]);
        await iptablesBackend.remove(lab.client.path, "nobody");
        expect(everything(), `killed after ${changes}`).toBe(redirect);
      }
      expect(changes).toBeGreaterThan(11);
    });

    it("leaves what the next removal takes away, when it was removing", async () => {
      const before = everything();
      let changes = first;
      for (; changes < MOST; changes += STEP) {
        await tproxyBackend.apply(spec);
        if (!killedAfter(changes, "tproxy", "remove", [lab.client.path, "web"])) break;
        await tproxyBackend.remove(lab.client.path, "web");
        expect(everything(), `killed after ${changes}`).toBe(before);
      }
      expect(changes).toBeGreaterThan(9);
      expect(everything()).toBe(before);
    });
  },
);
