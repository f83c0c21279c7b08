// SPDX-License-Identifier: Apache-2.0
import type { LegState, ProxySocket, SpliceDriver } from "../../accelerate/splice-driver.ts";
import type { SpliceKey } from "../../bpf/generated/types.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import type { CarriedPast } from "../../proxy/acceleration.ts";
import type { Direction } from "../../proxy/original-destination.ts";
import type { LegLook, LegName, OwnSocket, SplicedFlow, Splicer } from "../../proxy/splice.ts";
import type { SpliceWakes } from "./splice-wakes.ts";

type Side = "client" | "server";

const NOTHING: CarriedPast = { fromApplication: 0, toApplication: 0 };
/** Times that the other end's proxy is waited for; then it is taken for none of ours, and this one splices alone. */
const PAIR_ATTEMPTS = 8;
const ALONE_ATTEMPTS = 32;

/** How the proxy of a listener asks for its connections to be spliced. */
export function splicerFor(direction: Direction, driver: SpliceDriver, wakes: SpliceWakes): Splicer {
  const side = direction === "outbound" ? "client" : "server";
  return { open: ({ port }) => (driver.excludes(port) ? undefined : new DrivenSplice(side, driver, wakes)) };
}

class DrivenSplice implements SplicedFlow {
  readonly #side: Side;
  readonly #driver: SpliceDriver;
  readonly #wakes: SpliceWakes;
  #flow: SpliceKey | undefined;
  #isAlone = false;
  #attempts = 0;
  /** Why no socket of the connection is a leg. */
  #reason = "short";
  #near = 0n;
  #outer = 0n;

  constructor(side: Side, driver: SpliceDriver, wakes: SpliceWakes) {
    this.#side = side;
    this.#driver = driver;
    this.#wakes = wakes;
  }

  get hasNoPair(): boolean {
    return this.#isAlone;
  }

  join(near: OwnSocket, outer: OwnSocket, mayBeAlone: boolean): "later" | "never" | readonly LegName[] {
    if (this.#isAlone && !mayBeAlone) return "later";
    this.#attempts++;
    if (this.#near === 0n) {
      this.#near = cookieOf(near.fd);
      this.#outer = cookieOf(outer.fd);
    }
    const sockets = [withCookie(near, this.#near), withCookie(outer, this.#outer)] as const;
    return this.#isAlone ? this.#joinAlone(...sockets) : this.#joinPair(...sockets);
  }

  arm(leg: LegName, read: number): LegLook {
    return looked(this.#driver.arm(this.#sideOf(leg), this.#key, read));
  }

  look(leg: LegName, read: number): LegLook {
    return looked(this.#driver.look(this.#sideOf(leg), this.#key, read));
  }

  watch(leg: LegName, fd: number, onWake: () => void): Disposable {
    return this.#wakes.watch(fd, leg === "near" ? this.#near : this.#outer, onWake);
  }

  arrived(leg: LegName): { readonly seen: number; readonly redirected: number } | undefined {
    if (leg === "outer" && !this.#isAlone) return undefined;
    const legs = this.#flow && this.#driver.counts(this.#flow)?.legs;
    const own = legs?.[this.#sideOf(leg) === "client" ? 0 : 1];
    if (!own || own.state === "unknown" || own.state === "ready" || own.state === "never") return undefined;
    return { seen: own.seen, redirected: Number(own.redirectedBytes % 2n ** 32n) };
  }

  carried(): CarriedPast {
    const legs = this.#flow && this.#driver.counts(this.#flow)?.legs;
    if (!legs) return NOTHING;
    const [client = 0n, server = 0n] = legs.map(({ redirectedBytes }) => redirectedBytes);
    const [own, other] = this.#sideOf("near") === "client" ? [client, server] : [server, client];
    return { fromApplication: Number(own), toApplication: Number(other) };
  }

  end(): { readonly carried: CarriedPast; readonly reason: string } {
    const carried = this.carried();
    if (!this.#flow) return { carried, reason: this.#reason };
    const legs = this.#driver.counts(this.#flow)?.legs ?? [];
    const kept = legs.find(({ reason }) => reason === "stream" || reason === "slow-reader") ?? legs[0];
    this.#driver.leave(this.#sideOf("near"), this.#flow);
    const isWhole = carried.fromApplication > 0 && carried.toApplication > 0;
    return { carried, reason: isWhole ? "none" : (kept?.reason ?? this.#reason) };
  }

  #joinPair(near: ProxySocket, outer: ProxySocket): "later" | "never" | readonly LegName[] {
    const { flow, state, peerState, reason } = this.#driver.join(this.#side, near, outer, this.#flow);
    this.#reason = reason;
    if (reason === "switched-off") return this.#notNow();
    if (flow.id !== 0n) this.#flow = flow;
    if (state === "passing") return ["near"];
    if (state === "never") return "never";
    if (reason === "policy") this.#attempts = PAIR_ATTEMPTS;
    // The other proxy may be waiting for this one to be ready, and has not said so yet.
    if (this.#attempts < PAIR_ATTEMPTS && peerState !== "never") return "later";
    if (this.#flow) {
      this.#driver.refuse(this.#side, near, outer, this.#flow);
      this.#driver.leave(this.#side, this.#flow);
    }
    this.#flow = undefined;
    this.#isAlone = true;
    this.#attempts = 0;
    return "later";
  }

  #joinAlone(near: ProxySocket, outer: ProxySocket): "later" | "never" | readonly LegName[] {
    const { flow, state, peerState, reason } = this.#driver.alone(near, outer);
    this.#reason = reason;
    if (reason === "switched-off") return this.#notNow();
    this.#flow = flow;
    if (state === "passing" && peerState === "passing") return ["near", "outer"];
    return state === "never" || peerState === "never" || this.#attempts >= ALONE_ATTEMPTS ? "never" : "later";
  }

  /** It may be switched on again. */
  #notNow(): "later" {
    this.#attempts--;
    return "later";
  }

  #sideOf(leg: LegName): Side {
    if (this.#isAlone) return leg === "near" ? "client" : "server";
    return this.#side;
  }

  get #key(): SpliceKey {
    if (!this.#flow) throw new TypeError("no socket of the connection is a leg");
    return this.#flow;
  }
}

const cookieOf = (fd: number): bigint => check(loadAddon().socketCookie(fd), "getsockopt(SO_COOKIE)", `fd ${fd}`);

const withCookie = ({ ends, read, written }: OwnSocket, cookie: bigint): ProxySocket => ({
  ends,
  cookie,
  read,
  written,
});

const looked = ({ state, drained, pending }: LegState): LegLook => ({
  isArmed: state === "armed" || state === "open",
  isDrained: drained,
  isSettled: !pending,
});
