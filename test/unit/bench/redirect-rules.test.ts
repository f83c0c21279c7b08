// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { countRedirected, rulesText } from "../../../src/bench/redirect-rules.ts";

it("rules lead the client to the first proxy and the first proxy to the second, and nobody else anywhere", () => {
  const text = rulesText([
    { chain: "OUTPUT", except: [1337, 1338], ports: [[7000, 15001]] },
    { chain: "OUTPUT", user: 1337, ports: [[7000, 15011]] },
  ]);
  expect(text).toBe(`*nat
-A OUTPUT -p tcp -d 10.98.9.2 -m owner ! --uid-owner 1337 -m owner ! --uid-owner 1338 -m tcp --dport 7000 -j REDIRECT --to-ports 15001
-A OUTPUT -p tcp -d 10.98.9.2 -m owner --uid-owner 1337 -m tcp --dport 7000 -j REDIRECT --to-ports 15011
COMMIT
`);
});

it("connections are counted by the rules that redirected them", () => {
  const saved = `*nat
:OUTPUT ACCEPT [99:5940]
[12:720] -A OUTPUT -d 10.98.9.2/32 -p tcp -m tcp --dport 7000 -j REDIRECT --to-ports 15001
[30:1800] -A OUTPUT -d 10.98.9.2/32 -p tcp -m tcp --dport 7001 -j REDIRECT --to-ports 15001
[7:420] -A OUTPUT -d 10.98.9.2/32 -p tcp -j RETURN
COMMIT
`;
  expect(countRedirected(saved)).toBe(42);
});
