// SPDX-License-Identifier: Apache-2.0

/**
 * Integration files that `npm test` runs beside the others, with the virtual machine. They keep to namespaces of their own
 * and measure nothing, so that the two rows of tests, each of which waits for the kernel half of its time, do not disturb
 * each other. The locks of iptables-legacy are the machine's, so what changes rules by it is all here.
 */
export const BESIDE: readonly string[] = [
  "test/integration/istio-iptables/*.test.ts",
  "test/integration/peers/istio-*.test.ts",
  "test/integration/intercept/istio-rules.test.ts",
  "test/integration/rules-{crash,repair,spec-fields}.test.ts",
  "test/integration/{iptables,nftables}-lifecycle.test.ts",
  "test/integration/{redirect,tproxy}-traffic.test.ts",
  "test/integration/{iptables-choice,matrix,rules-command}.test.ts",
  "test/integration/agent/{live-change,migration,traffic,traffic-types}.test.ts",
];

/** Which of the two a vitest has, by SHUNT_TEST_LANE; without it all files are one's. */
export type Lane = "main" | "beside";
