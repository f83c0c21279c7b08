// SPDX-License-Identifier: Apache-2.0
import { describe, it } from "vitest";
import { plan } from "../../../../src/intercept/tproxy/plan.ts";
import { render } from "../../../../src/intercept/tproxy/render.ts";
import { expectGolden } from "../../../support/golden-file.ts";
import { anInbound, anOutbound, aSpec } from "../iptables/iptables-specs.ts";

const cases = {
  "both-directions": aSpec({ outbound: anOutbound({ excludePorts: [15020] }), inbound: anInbound() }),
  "inbound-only": aSpec({ inbound: anInbound() }),
  "outbound-only": aSpec({ outbound: anOutbound() }),
  "inbound-ports-and-clients": aSpec({
    inbound: anInbound({
      includePorts: [80, 443],
      excludePorts: [],
      includeCidrs: [
        { address: "10.0.0.0", prefixLength: 8 },
        { address: "fd00::", prefixLength: 8 },
      ],
      excludeCidrs: [{ address: "10.1.0.0", prefixLength: 16 }],
    }),
  }),
  "external-sidecar-with-dns": aSpec({
    outbound: anOutbound({ dns: { kind: "servers", servers: ["10.96.0.10", "fd00:96::a"], port: 15053 } }),
    inbound: anInbound(),
    proxy: { uids: [1337, 1338], gids: [1337], external: true },
  }),
  "inbound-preserving-source": aSpec({ inbound: anInbound({ preserveMark: { value: 0x1539, mask: 0x1fff } }) }),
  "interfaces-and-invalid": aSpec({
    outbound: anOutbound(),
    inbound: anInbound(),
    interfaces: { exclude: ["eth1", "lo"], reroute: ["vm0"] },
    dropInvalid: true,
  }),
};

describe("render", () => {
  it.each(Object.entries(cases))("writes the rules and the routing of %s", (name, spec) => {
    const pieces = render(plan(spec));
    const text = pieces.map(({ title, command, text: body }) => `# ${title}: ${command.join(" ")}\n${body}`).join("");
    expectGolden(import.meta.dirname, name, text);
  });
});
