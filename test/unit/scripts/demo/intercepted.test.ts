// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { differences } from "../../../../scripts/demo/intercepted.ts";

describe("original destinations of the demo", () => {
  it("are right when each server, and nothing else, was seen in both directions", () => {
    const seen = [{ destination: "10.0.0.1:80", outbound: 2, inbound: 2 }];
    expect(differences(seen, ["10.0.0.1:80", "10.0.0.1:80"])).toEqual([]);
  });

  it("are wrong when one is no server's, or a server was missed in one direction", () => {
    const seen = [
      { destination: "127.0.0.1:15001", outbound: 1, inbound: 0 },
      { destination: "10.0.0.1:80", outbound: 1, inbound: 0 },
    ];
    expect(differences(seen, ["10.0.0.1:80"])).toEqual([
      "127.0.0.1:15001 was seen, and no server of the demo is there",
      "10.0.0.1:80 was never seen inbound",
    ]);
  });
});
