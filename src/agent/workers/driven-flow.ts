// SPDX-License-Identifier: Apache-2.0
import type { FlowState } from "../../accelerate/advance-request.ts";
import type { FlowDriver, SocketEnds, SocketReader } from "../../accelerate/flow-driver.ts";
import type { AcceleratedFlow, Accelerator, CarriedPast } from "../../proxy/acceleration.ts";
import type { Direction } from "../../proxy/original-destination.ts";

const NOTHING: CarriedPast = { fromApplication: 0, toApplication: 0 };

/** The other end may have no proxy of ours, and then nothing ever comes of it: so seldom is it tried in the end. */
const LONGEST_PAUSE = 256;

/** How the proxy of a listener asks for its connections to be accelerated. */
export function acceleratorFor(direction: Direction, driver: FlowDriver): Accelerator {
  return {
    open: (near, outer, destination) =>
      driver.excludes(destination.port)
        ? "port-excluded"
        : new DrivenFlow(
            direction === "outbound" ? "client" : "server",
            applicationsEnds(near, destination),
            outer,
            driver,
            // A listener is known by its port.
            direction === "outbound" ? 0 : destination.port,
          ),
  };
}

/**
 * The application's socket is the mirror image of ours; but where rules have redirected the connection, it still
 * has the address that it asked for.
 */
function applicationsEnds({ local, remote }: SocketEnds, destination: SocketEnds["remote"]): readonly SocketEnds[] {
  const mirrored = { local: remote, remote: local };
  const isRewritten = local.address !== destination.address || local.port !== destination.port;
  return isRewritten ? [mirrored, { local: remote, remote: destination }] : [mirrored];
}

class DrivenFlow implements AcceleratedFlow {
  readonly #side: "client" | "server";
  /** As the application's socket may look; the first one that there is is it. */
  readonly #candidates: readonly SocketEnds[];
  readonly #outer: SocketEnds;
  readonly #driver: FlowDriver;
  readonly #servicePort: number;
  #reader: SocketReader | undefined;
  #app: SocketEnds | undefined;
  #last: FlowState | undefined;
  /** Calls of `advance` to let pass: twice as many after each that came to nothing. */
  #pause = 1;
  #waiting = 0;
  #wasEnrolled = false;
  #done = false;

  constructor(
    side: "client" | "server",
    candidates: readonly SocketEnds[],
    outer: SocketEnds,
    driver: FlowDriver,
    servicePort: number,
  ) {
    this.#side = side;
    this.#candidates = candidates;
    this.#outer = outer;
    this.#driver = driver;
    this.#servicePort = servicePort;
  }

  advance(): void {
    if (this.#done || this.#waiting-- > 0) return;
    const before = this.#last?.state;
    const { state } = this.#findReader(this.#ask());
    if (state === before) this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#waiting = this.#pause - 1;
    this.#wasEnrolled ||= state === "enrolled";
    this.#done = state === "enrolled" || state === "never";
  }

  carried(): CarriedPast {
    const flow = this.#last === undefined || this.#last.flow === 0n ? 0n : this.#last.flow;
    const ends = flow === 0n ? undefined : this.#driver.counts(flow)?.ends;
    if (!ends) return NOTHING;
    const [client = 0n, server = 0n] = ends.map(({ redirectedBytes }) => redirectedBytes);
    const [own, other] = this.#side === "client" ? [client, server] : [server, client];
    return { fromApplication: Number(own), toApplication: Number(other) };
  }

  hasUnread(): boolean {
    // Nothing was redirected to a socket that was never enrolled.
    return this.#wasEnrolled && this.#ask().hasUnread;
  }

  end(): { readonly carried: CarriedPast; readonly reason: string } {
    const carried = this.carried();
    const last = this.#last;
    if (last !== undefined && last.flow !== 0n) {
      const own = this.#driver.counts(last.flow)?.ends[this.#side === "client" ? 0 : 1];
      this.#driver.leave(this.#side, last.flow);
      return { carried, reason: own?.reason ?? last.reason };
    }
    return { carried, reason: last?.reason ?? "short" };
  }

  /** Where nothing but its unknown reader keeps the socket out of the map. */
  #findReader(answer: FlowState): FlowState {
    if (answer.reason !== "reader-unknown") return answer;
    const verdict = this.#driver.judgeReader(answer, this.#servicePort);
    if (verdict.allowed) {
      this.#reader = { inode: answer.inode, pid: verdict.pid };
      return this.#ask();
    }
    const refused = this.#driver.refuse(this.#side, answer.flow, verdict.reason);
    this.#last = refused;
    return refused;
  }

  #ask(): FlowState {
    const [first, second] = this.#app === undefined ? this.#candidates : [this.#app];
    let answer = this.#askFor(first);
    if (answer.reason === "not-found" && second) {
      answer = this.#askFor(second);
      this.#app = second;
    } else {
      this.#app = first;
    }
    this.#last = answer;
    return answer;
  }

  #askFor(app: SocketEnds | undefined): FlowState {
    if (!app) throw new TypeError("a connection has two ends");
    return this.#driver.advance(this.#side, app, this.#outer, this.#last?.flow ?? 0n, this.#reader);
  }
}
