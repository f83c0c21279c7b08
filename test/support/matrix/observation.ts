// SPDX-License-Identifier: Apache-2.0
/** What became of a question, in few words: who took the connection, and as whom it went on. */
import type { MatrixAnswer } from "./asker.ts";
import { DIRECT, REFUSED } from "./expectation.ts";
import { OUTSIDE, podAddress } from "./places.ts";
import type { AskedFamily, Traffic } from "./traffic.ts";

/** What a proxy says of a connection that it took. */
export interface Evidence {
  readonly direction: "outbound" | "inbound";
  /** `ADDRESS PORT`: where it believes the client meant to go. */
  readonly original: string;
}

export interface Seen {
  readonly traffic: Traffic;
  readonly family: AskedFamily;
  /** Who was asked, and who asked: `source` is undefined where the kernel chose it. */
  readonly address: string;
  readonly source: string | undefined;
  readonly sourcePort: number | undefined;
  readonly answer: MatrixAnswer;
  /** Of whoever took the connection of the client. */
  readonly evidence: Evidence | undefined;
}

/** Words for errors of connect(); others stand for themselves. */
const ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: REFUSED,
  EPERM: "not permitted",
  timeout: "no answer",
};

/**
 * "direct": the server saw the client itself. "outbound", "inbound": a proxy took it there and knew where it was meant
 * to go; "outbound+inbound": the sidecar came to its own inbound port. "dns": the forwarder asked the resolver that was
 * asked. Anything that is odd is said after a comma.
 */
export function observed(seen: Seen): string {
  const { answer, evidence } = seen;
  if (answer.error !== undefined) {
    return evidence ? `${evidence.direction}, without success` : (ERRORS[answer.error] ?? answer.error);
  }
  const { sender, server } = answer.told ?? {};
  if (sender) return `answered by ${sender.join(" ")}`;
  const { base, odd } = fate(seen);
  const mistaken = evidence && evidence.original !== `${bare(seen.address)} ${seen.traffic.port}`;
  return [
    base,
    ...odd,
    ...(mistaken ? [`, taken for ${evidence.original}`] : []),
    ...(base === DIRECT || !seen.traffic.servedByPod ? otherServer(seen, server?.[0]) : []),
  ].join("");
}

interface Fate {
  readonly base: string;
  readonly odd: readonly string[];
}

function fate(seen: Seen): Fate {
  const { answer, evidence, source, sourcePort, traffic } = seen;
  const { client } = answer.told ?? {};
  if (client === null) return { base: DIRECT, odd: [] };
  const from = bare(client?.[0]);
  if (evidence) return taken(seen, evidence, from);
  if (client?.[1] !== sourcePort) {
    return { base: traffic.transport.startsWith("dns") ? "dns" : "somebody unknown", odd: [] };
  }
  return { base: DIRECT, odd: source !== undefined && from !== source ? [`, from ${from}`] : [] };
}

/** `from`: as whom the connection went on. */
function taken({ family, source, traffic }: Seen, { direction }: Evidence, from: string | undefined): Fate {
  const passThrough = from === (family === "v6" ? "::6" : "127.0.0.6");
  if (direction === "inbound") {
    if (from === source) return { base: "inbound as client", odd: [] };
    return { base: "inbound", odd: passThrough ? [] : [`, from ${from}`] };
  }
  // Only the inbound half of a proxy has the pass-through address.
  if (passThrough) return { base: "outbound+inbound", odd: [] };
  // What the proxy sends to the world comes from the pod's address, what it sends to the pod from any of its own.
  const own = podAddress(traffic.pod, family === "v6" ? "v6" : "v4");
  const outside = Object.values(OUTSIDE).some((place) => place === traffic.to);
  return { base: "outbound", odd: outside && from !== own ? [`, from ${from}`] : [] };
}

function otherServer({ address }: Seen, server: string | undefined): string[] {
  return server === undefined || bare(server) === bare(address) ? [] : [`, of ${bare(server)}`];
}

/** Without the form of an IPv6 socket, and without the interface. */
function bare(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:/, "").replace(/%.*/, "");
}
