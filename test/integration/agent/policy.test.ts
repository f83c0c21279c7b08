// SPDX-License-Identifier: Apache-2.0
/**
 * What a policy includes and excludes, by real connections; `explain` must say the same. One agent for all of a mode,
 * changed live from policy to policy.
 */
import { closeSync, openSync } from "node:fs";
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adminSocketPath } from "../../../src/config/admin-socket-path.ts";
import type { Explanation } from "../../../src/config/formats/explanation.ts";
import { inNetns, rulesOf } from "../../support/iptables-save.ts";
import { tellServer } from "../../support/lab-process.ts";
import { inSomeModes } from "../../support/modes.ts";
import { endpoint, PodPair, type Traffic } from "../../support/pod-pair.ts";
import { steering } from "../../support/steered.ts";

const PORTS = [22, 80, 81, 15020, 15021, 15090];
const OFF = { enabled: false };

/** Addresses of the far side: in the ranges of the policies, near their edges, and outside. */
type Expectation = readonly [address: string, port: number, verdict: "redirect" | "pass"];

interface Case {
  readonly title: string;
  readonly outbound: Traffic;
  readonly expected: readonly Expectation[];
}

const outboundCases: readonly Case[] = [
  {
    title: "captures every address and port when nothing is said",
    outbound: {},
    expected: [
      ["203.0.113.7", 80, "redirect"],
      ["203.0.113.7", 22, "redirect"],
      ["203.0.113.7", 15021, "redirect"],
      ["2001:db8:1::7", 80, "redirect"],
      ["::ffff:203.0.113.7", 80, "redirect"],
    ],
  },
  {
    title: "lets excluded ports pass in both families",
    outbound: { excludePorts: [22, 81] },
    expected: [
      ["203.0.113.7", 22, "pass"],
      ["2001:db8:1::7", 22, "pass"],
      ["::ffff:203.0.113.7", 81, "pass"],
      ["203.0.113.7", 80, "redirect"],
      ["2001:db8:1::7", 80, "redirect"],
    ],
  },
  {
    title: "captures included ranges and nothing else",
    outbound: { includeCidrs: ["203.0.113.0/25", "2001:db8:1::/48"] },
    expected: [
      ["203.0.113.0", 80, "redirect"],
      ["203.0.113.127", 80, "redirect"],
      ["203.0.113.128", 80, "pass"],
      ["::ffff:203.0.113.1", 80, "redirect"],
      ["::ffff:203.0.113.200", 80, "pass"],
      ["2001:db8:1:ffff:ffff:ffff:ffff:ffff", 80, "redirect"],
      ["2001:db8:2::", 80, "pass"],
    ],
  },
  {
    title: "captures included ports whatever the address, beside included ranges",
    outbound: { includeCidrs: ["203.0.113.7/32"], includePorts: [22] },
    expected: [
      ["203.0.113.7", 80, "redirect"],
      ["203.0.113.8", 80, "pass"],
      ["203.0.113.8", 22, "redirect"],
      ["2001:db8:1::7", 22, "redirect"],
      ["2001:db8:1::7", 80, "pass"],
    ],
  },
  {
    title: "captures nothing when no range is included",
    outbound: { includeCidrs: [] },
    expected: [
      ["203.0.113.7", 80, "pass"],
      ["2001:db8:1::7", 80, "pass"],
    ],
  },
  {
    title: "lets an excluded range pass, even where a longer one is included, as istio-iptables does",
    outbound: {
      includeCidrs: ["203.0.113.7/32", "2001:db8:1::7/128"],
      excludeCidrs: ["203.0.113.0/24", "2001:db8:1::/48"],
    },
    expected: [
      ["203.0.113.7", 80, "pass"],
      ["2001:db8:1::7", 80, "pass"],
    ],
  },
  {
    title: "knows the longest prefixes from their neighbours",
    outbound: { excludeCidrs: ["203.0.113.7/32", "2001:db8:1::7/128"] },
    expected: [
      ["203.0.113.6", 80, "redirect"],
      ["203.0.113.7", 80, "pass"],
      ["203.0.113.8", 80, "redirect"],
      ["::ffff:203.0.113.7", 80, "pass"],
      ["2001:db8:1::6", 80, "redirect"],
      ["2001:db8:1::7", 80, "pass"],
      ["2001:db8:1::8", 80, "redirect"],
    ],
  },
  {
    title: "takes 0.0.0.0/0 for IPv4 alone",
    outbound: { excludeCidrs: ["0.0.0.0/0"] },
    expected: [
      ["203.0.113.7", 80, "pass"],
      ["::ffff:203.0.113.7", 80, "pass"],
      ["2001:db8:1::7", 80, "redirect"],
    ],
  },
  {
    title: "takes ::/0 for IPv6 alone",
    outbound: { excludeCidrs: ["::/0"] },
    expected: [
      ["2001:db8:1::7", 80, "pass"],
      ["203.0.113.7", 80, "redirect"],
      ["::ffff:203.0.113.7", 80, "redirect"],
    ],
  },
  {
    title: "includes ::/0 for IPv6 alone",
    outbound: { includeCidrs: ["::/0"] },
    expected: [
      ["2001:db8:1::7", 80, "redirect"],
      ["203.0.113.7", 80, "pass"],
      ["::ffff:203.0.113.7", 80, "pass"],
    ],
  },
  {
    title: "takes the shortest prefixes but one at their word",
    outbound: { excludeCidrs: ["128.0.0.0/1", "::/1"] },
    expected: [
      ["203.0.113.7", 80, "pass"],
      ["100.64.0.7", 80, "redirect"],
      ["2001:db8:1::7", 80, "pass"],
      ["::ffff:100.64.0.7", 80, "redirect"],
    ],
  },
  {
    title: "lets everything pass when it is off",
    outbound: OFF,
    expected: [
      ["203.0.113.7", 80, "pass"],
      ["2001:db8:1::7", 80, "pass"],
      ["::ffff:203.0.113.7", 80, "pass"],
    ],
  },
];

/** v4, then v6: every second small block of 198.18.0.0/15 and of 2001:db8:2::/48. */
const manyCidrs = [...Array(500).keys()].flatMap((i) => [
  `198.18.${Math.floor(i / 8)}.${(i % 8) * 32}/28`,
  `2001:db8:2:${(2 * i).toString(16)}::/64`,
]);

inSomeModes(["ebpf", "iptables"], "policies", (mode) => {
  let pair: PodPair;
  let clientFd: number;
  let steered = 0;

  beforeAll(async () => {
    pair = await PodPair.start({ mode, client: { inbound: OFF } });
    const { client, server } = pair.lab;
    clientFd = openSync(client.path, "r");
    // The far side answers for every address of these ranges (AnyIP), the near side knows the way there.
    for (const range of ["203.0.113.0/24", "100.64.0.0/24", "198.18.0.0/15", "2001:db8::/32"]) {
      pair.ip(server, ...(range.includes(":") ? ["-6"] : []), "route", "add", "local", range, "dev", "lo");
      pair.ip(client, "route", "add", range, "via", range.includes(":") ? server.v6 : server.v4);
    }
    await pair.processes.start(tellServer("node", "::", PORTS), server.path);
  });

  afterAll(async () => {
    closeSync(clientFd);
    await pair[Symbol.asyncDispose]();
  });

  async function apply(changes: { client?: Traffic; server?: Traffic }): Promise<void> {
    expect(await pair.agent.reconfigure(pair.agentFile(changes))).toMatchObject({ msg: "configuration applied" });
  }

  /** Every one must hold of the traffic and of what `explain` says. */
  async function expectVerdicts(
    workload: string,
    direction: "outbound" | "inbound",
    expected: readonly Expectation[],
    source?: (address: string) => string,
  ): Promise<void> {
    const seen: unknown[] = [];
    const said: unknown[] = [];
    for (const [address, port] of expected) {
      const traffic = await steering(clientFd, address, port);
      if (traffic.steered) steered += traffic.connections;
      seen.push([address, port, traffic.steered ? "redirect" : "pass"]);
      const query = { workload, direction, address, port: String(port), ...(source && { source: source(address) }) };
      said.push([address, port, (await explain(query)).verdict]);
    }
    expect(seen, "the traffic").toEqual(expected);
    expect(said, "explain").toEqual(expected);
  }

  /** What `shunt explain --json` prints, without a process for each. */
  function explain(query: Record<string, string>): Promise<Explanation> {
    const path = `/explain?${new URLSearchParams(query).toString()}`;
    return new Promise((resolve, reject) => {
      request({ socketPath: adminSocketPath(pair.agent.name), path }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve(JSON.parse(text) as Explanation));
      })
        .on("error", reject)
        .end();
    });
  }

  describe("outbound", () => {
    it.each(outboundCases)("$title", async ({ outbound, expected }) => {
      await apply({ client: { inbound: OFF, outbound } });
      await expectVerdicts("client", "outbound", expected);
    });

    it("finds its way through a thousand excluded ranges", async () => {
      await apply({ client: { inbound: OFF, outbound: { excludeCidrs: manyCidrs } } });
      await expectVerdicts("client", "outbound", [
        ["198.18.0.0", 80, "pass"],
        ["198.18.0.15", 80, "pass"],
        ["198.18.0.16", 80, "redirect"],
        ["198.18.31.111", 80, "pass"],
        ["198.18.31.112", 80, "redirect"],
        ["198.18.62.111", 80, "pass"],
        ["198.18.62.128", 80, "redirect"],
        ["2001:db8:2:0::1", 80, "pass"],
        ["2001:db8:2:1::1", 80, "redirect"],
        ["2001:db8:2:3e6::1", 80, "pass"],
        ["2001:db8:2:3e7::1", 80, "redirect"],
        ["2001:db8:2:3e8::1", 80, "redirect"],
      ]);
    });

    it("is told by the command line as by the socket, with the rule that decides", async () => {
      await apply({ client: { inbound: OFF, outbound: { excludeCidrs: ["203.0.113.0/24"] } } });
      const flags = ["--workload", "client", "--direction", "outbound", "--port", "80"];
      const query = { workload: "client", direction: "outbound", port: "80" };
      for (const address of ["203.0.113.7", "100.64.0.7"]) {
        expect(await pair.agent.ask("explain", [...flags, "--address", address])).toEqual(
          await explain({ ...query, address }),
        );
      }
      expect(await explain({ ...query, address: "203.0.113.7" })).toMatchObject({
        verdict: "pass",
        reason: "cidr-excluded",
        rule: "outbound.excludeCidrs: 203.0.113.0/24",
        goesTo: "203.0.113.7:80",
      });
      const { decidedBy } = await explain({ ...query, address: "203.0.113.7" });
      if (mode === "iptables" || mode === "tproxy") {
        const rules = (["nft", "legacy"] as const).map((flavour) => rulesOf(pair.lab.client.path, flavour)).join("\n");
        const [table, ...rule] = decidedBy.replaceAll('"', "").split(" ");
        expect(table).toBe("nat");
        expect(rules.replaceAll('"', "").split("\n")).toContain(rule.join(" "));
      } else if (mode === "nftables") {
        const [family = "", table = "", chain = "", ...rule] = decidedBy.replaceAll('"', "").split(" ");
        const listed = inNetns(pair.lab.client.path, "nft", "list", "chain", family, table, chain).replaceAll('"', "");
        expect(listed.split("\n").map((line) => line.trim())).toContain(rule.join(" "));
      } else {
        expect(decidedBy).toMatch(/^cidrs\[policy \d+, outbound-exclude, 203\.0\.113\.0\/24\]$/);
      }
    });
  });

  describe("inbound", () => {
    const inboundCases = (): readonly { title: string; inbound: Traffic; expected: readonly Expectation[] }[] => {
      const { client, server } = pair.lab;
      return [
        {
          title: "everything",
          inbound: {},
          expected: [
            [server.v4, 80, "redirect"],
            [server.v6, 80, "redirect"],
            [`::ffff:${server.v4}`, 80, "redirect"],
            [server.v4, 15020, "pass"],
            [server.v6, 15021, "pass"],
            [server.v4, 15090, "pass"],
          ],
        },
        {
          title: "excluded ports; Istio's stay excluded",
          inbound: { excludePorts: [81] },
          expected: [
            [server.v4, 81, "pass"],
            [server.v6, 81, "pass"],
            [server.v4, 80, "redirect"],
            [server.v6, 15021, "pass"],
          ],
        },
        {
          title: "included ports only; excluded ones win",
          inbound: { includePorts: [80, 81, 15021], excludePorts: [81] },
          expected: [
            [server.v4, 80, "redirect"],
            [server.v6, 80, "redirect"],
            [server.v4, 81, "pass"],
            [server.v4, 22, "pass"],
            [server.v6, 22, "pass"],
            [server.v4, 15021, "pass"],
          ],
        },
        {
          title: "included clients only",
          inbound: { includeCidrs: [`${client.v4}/32`] },
          expected: [
            [server.v4, 80, "redirect"],
            [server.v6, 80, "pass"],
          ],
        },
        {
          title: "excluded clients",
          inbound: { excludeCidrs: [`${client.v4}/32`, "2001:db8::/32"] },
          expected: [
            [server.v4, 80, "pass"],
            [server.v6, 80, "redirect"],
          ],
        },
        {
          title: "excluded ::/0",
          inbound: { excludeCidrs: ["::/0"] },
          expected: [
            [server.v4, 80, "redirect"],
            [server.v6, 80, "pass"],
          ],
        },
        {
          title: "excluded 0.0.0.0/0",
          inbound: { excludeCidrs: ["0.0.0.0/0"] },
          expected: [
            [server.v4, 80, "pass"],
            [`::ffff:${server.v4}`, 80, "pass"],
            [server.v6, 80, "redirect"],
          ],
        },
        {
          title: "off",
          inbound: OFF,
          expected: [
            [server.v4, 80, "pass"],
            [server.v6, 80, "pass"],
          ],
        },
      ];
    };

    it("keeps to ports and clients included and excluded, and to being off", async () => {
      const { client } = pair.lab;
      for (const { title, inbound, expected } of inboundCases()) {
        // The client's own outbound interception would steer the same connections.
        await apply({ client: { outbound: OFF, inbound: OFF }, server: { outbound: OFF, inbound } });
        await expectVerdicts("server", "inbound", expected, (a) => (a.startsWith("fd") ? client.v6 : client.v4)).catch(
          (cause: unknown) => expect.fail(`${title}: ${String(cause)}`),
        );
      }
    });
  });

  it("records just the connections that were steered", async () => {
    const { agent } = pair;
    expect(await agent.stop()).toBeUndefined();
    const records = agent.records();
    expect(records).toHaveLength(steered);
    expect(new Set(records.map((record) => record.outcome))).toEqual(new Set(["closed"]));
    expect(records[0]).toMatchObject({ originalDestination: endpoint("203.0.113.7", 80) });
  });
});
