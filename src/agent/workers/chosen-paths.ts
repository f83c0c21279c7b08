// SPDX-License-Identifier: Apache-2.0
import type { FlowDriver } from "../../accelerate/flow-driver.ts";
import type { SocketEnds } from "../../accelerate/socket-ends.ts";
import type { AcceleratedFlow, Accelerator, Carried, ProxyEnd } from "../../proxy/acceleration.ts";
import type { Direction } from "../../proxy/original-destination.ts";
import { BothEnds } from "./both-ends.ts";
import { type DirectFlow, DrivenFlow, NOTHING } from "./driven-flow.ts";

/** How the proxy of a listener asks for its connections to be accelerated. */
export function acceleratorFor(direction: Direction, driver: FlowDriver, means: Means): Accelerator {
  return {
    refuses: ({ port }) => (driver.excludes(port) ? "port-excluded" : undefined),
    open: (near, outer, destination) => new ChosenPaths({ direction, near, outer, destination }, driver, means),
  };
}

interface Means {
  /** What these ways leave may be spliced. */
  readonly splices: boolean;
  /** Who asks for the socket at the other end, where its own proxy was left out. */
  readonly otherEnd: (outer: SocketEnds) => FlowDriver | undefined;
}

interface ConnectionEnds {
  readonly direction: Direction;
  readonly near: SocketEnds;
  readonly outer: SocketEnds;
  readonly destination: SocketEnds["remote"];
}

/** The ways of one connection: from application to application where that is possible, else by legs. */
class ChosenPaths implements AcceleratedFlow {
  readonly #ends: ConnectionEnds;
  readonly #driver: FlowDriver;
  readonly #means: Means;
  #direct: DirectFlow | undefined;
  #nearLeg: DrivenFlow | undefined;
  #outerLeg: DrivenFlow | undefined;
  /** Why it does not go from application to application. */
  #notDirect = "path-excluded";
  #isHopeless = false;
  readonly #hasOtherWays: boolean;

  constructor(ends: ConnectionEnds, driver: FlowDriver, means: Means) {
    this.#ends = ends;
    this.#driver = driver;
    this.#means = means;
    this.#hasOtherWays = means.splices || driver.allows("leg");
  }

  advance(takesLegs: boolean): boolean {
    if (!this.#nearLeg && this.#triesDirect()) return true;
    if (takesLegs && this.#driver.allows("leg")) this.#advanceLegs();
    return false;
  }

  get isOver(): boolean {
    if (this.#direct || this.#nearLeg?.wasEnrolled) return false;
    return !this.#driver.allows("leg") || this.#nearLeg?.isHopeless === true;
  }

  #advanceLegs(): void {
    if (!this.#nearLeg) this.#takeLegs();
    this.#nearLeg?.advance();
    // By itself it would be worth little, and nobody would take it for what is called a leg.
    if (this.#nearLeg?.wasEnrolled) this.#outerLeg?.advance();
  }

  carried(): Carried {
    const near = this.#nearLeg?.carried() ?? NOTHING;
    const outer = this.#outerLeg?.carried() ?? NOTHING;
    return {
      past: this.#direct?.carried() ?? NOTHING,
      legs: {
        fromApplication: Math.max(near.fromApplication, outer.toApplication),
        toApplication: Math.max(near.toApplication, outer.fromApplication),
      },
    };
  }

  reason(): string {
    if (!this.#nearLeg) return this.#direct?.reason() ?? (this.#isHopeless ? this.#notDirect : "short");
    const found = this.#nearLeg.reason();
    return found === "none" ? this.#notDirect : found;
  }

  hasUnread(end: ProxyEnd): boolean {
    if (end === "outer") return (this.#direct?.othersHasUnread() ?? false) || (this.#outerLeg?.hasUnread() ?? false);
    return (this.#direct?.hasUnread() ?? false) || (this.#nearLeg?.hasUnread() ?? false);
  }

  hasLeg(end: ProxyEnd): boolean {
    return (end === "near" ? this.#nearLeg : this.#outerLeg)?.wasEnrolled ?? false;
  }

  end(): { readonly carried: Carried; readonly reason: string } {
    const carried = this.carried();
    const reason = this.reason();
    this.#direct?.leave();
    this.#nearLeg?.leave();
    this.#outerLeg?.leave();
    return { carried, reason };
  }

  /** False once there is nothing to hope for that way. */
  #triesDirect(): boolean {
    if (this.#isHopeless || !this.#driver.allows("direct")) return false;
    this.#direct ??= this.#openDirect();
    this.#direct.advance();
    if (!this.#direct.isHopeless || !this.#hasOtherWays) return true;
    this.#notDirect = this.#direct.reason();
    this.#isHopeless = true;
    this.#direct.leave();
    this.#direct = undefined;
    return false;
  }

  #openDirect(): DirectFlow {
    const { direction, near, outer, destination } = this.#ends;
    const candidates = applicationsEnds(near, destination);
    const asker = this.#driver.direct;
    const [side, servicePort] = direction === "outbound" ? CLIENT : serverOn(destination.port);
    const own = new DrivenFlow({ side, candidates, own: outer, asker, servicePort }, this.#driver);
    const driver = direction === "outbound" ? this.#means.otherEnd(outer) : undefined;
    return driver ? new BothEnds(own, this.#atTheOtherEnd(driver), driver) : own;
  }

  /** The flow is found by the application's own socket: no proxy's stands before it. */
  #atTheOtherEnd(driver: FlowDriver): DrivenFlow {
    const { outer, destination } = this.#ends;
    const [side, servicePort] = serverOn(destination.port);
    const app = { local: outer.remote, remote: outer.local };
    return new DrivenFlow({ side, candidates: [app], own: app, asker: driver.direct, servicePort }, driver);
  }

  #takeLegs(): void {
    const { direction, near, outer, destination } = this.#ends;
    const asker = this.#driver.leg;
    const server = serverOn(destination.port);
    const [side, servicePort] = direction === "outbound" ? CLIENT : server;
    const candidates = applicationsEnds(near, destination);
    this.#nearLeg = new DrivenFlow({ side, candidates, own: near, asker, servicePort }, this.#driver);
    if (direction !== "outbound") return;
    // Where the connection stays in this namespace: the server, or the proxy before it.
    const [serverSide, port] = server;
    const mirrored = [{ local: outer.remote, remote: outer.local }];
    const settings = { side: serverSide, candidates: mirrored, own: outer, asker, servicePort: port };
    this.#outerLeg = new DrivenFlow(settings, this.#driver);
  }
}

/** Side, and port that a listener is known by. */
const CLIENT = ["client", 0] as const;
const serverOn = (port: number) => ["server", port] as const;

/**
 * The application's socket is the mirror image of ours; but where rules have redirected the connection, it still
 * has the address that it asked for.
 */
function applicationsEnds({ local, remote }: SocketEnds, destination: SocketEnds["remote"]): readonly SocketEnds[] {
  const mirrored = { local: remote, remote: local };
  const isRewritten = local.address !== destination.address || local.port !== destination.port;
  return isRewritten ? [mirrored, { local: remote, remote: destination }] : [mirrored];
}
