// SPDX-License-Identifier: Apache-2.0
/**
 * Runs that are ended by SIGKILL behind every change they make, which is in front of the next one: with each flavour of
 * iptables behind every other one, those that the other leaves out; SHUNT_MODES=all is every one with both.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { rulesOf, whyUnusable } from "../../support/iptables-save.ts";
import { type CommandResult, IstioPod } from "../../support/istio-pod.ts";
import { ALL_MODES } from "../../support/modes.ts";

const FLAGS = ["-b", "*", "-i", "*", "-m", "TPROXY"];
const V6_POD = ["fd00:10:88::2/64"];

/** Every program that changes something; what only looks is not counted. */
const PROGRAMS = ["iptables-restore", "ip6tables-restore", "ip"];

/** Kills whoever started it when the number of changes says so. */
const SCRIPT = [
  'case "$*" in *--version* | *--test* | *show*) exec REAL "$@" ;; esac',
  "input=$(cat)",
  // Checks alone are no change.
  'case "$0 $input" in */ip\\ * | *-[ADIN]\\ *) ;; *) printf "%s\\n" "$input" | REAL "$@"; exit $? ;; esac',
  'n=$(($(cat "$ISTIO_TEST_COUNT" 2>/dev/null || echo 0) + 1))',
  'echo $n > "$ISTIO_TEST_COUNT"',
  'printf "%s\\n" "$input" | REAL "$@"; status=$?',
  '[ "$ISTIO_TEST_KILL" = "$n" ] && kill -9 $PPID',
  "exit $status",
].join("\n");

class KilledRun {
  readonly #pod: IstioPod;
  readonly #env: Record<string, string>;
  readonly #count: string;

  constructor(pod: IstioPod, flavour: string) {
    this.#pod = pod;
    this.#count = `${pod.folder}/count`;
    const programs = PROGRAMS.flatMap((name) => (name === "ip" ? [name] : [name, name.replace("-", `-${flavour}-`)]));
    this.#env = { PATH: pod.wrap(programs, SCRIPT), ISTIO_TEST_COUNT: this.#count };
  }

  /** How many changes an undisturbed run makes. */
  async count(flags: readonly string[]): Promise<number> {
    rmSync(this.#count, { force: true });
    const { status, err } = await this.#pod.run(flags, { env: this.#env });
    if (status !== 0) throw new Error(err);
    return existsSync(this.#count) ? Number(readFileSync(this.#count, "utf8")) : 0;
  }

  run(flags: readonly string[], when: string): Promise<CommandResult> {
    rmSync(this.#count, { force: true });
    return this.#pod.run(flags, { env: { ...this.#env, ISTIO_TEST_KILL: when } });
  }
}

describe.each(["nft", "legacy"] as const)("with iptables-%s, a run that is killed", async (flavour) => {
  const unusable = await whyUnusable(flavour);
  const flags = [...FLAGS, "--force-iptables-binary", flavour];
  const state = (pod: IstioPod) => ({
    rules: rulesOf(pod.path, flavour),
    marks: pod.markRules(),
    v6: pod.hasPassthroughV6(),
  });

  it.skipIf(unusable)("at any change is completed by the next one, and cleaned up by --cleanup-only", async () => {
    using reference = new IstioPod(V6_POD);
    const changes = await new KilledRun(reference, flavour).count(flags);
    expect(changes).toBeGreaterThan(5);
    const wanted = state(reference);
    await atEvery(changes, flavour, async (pod, killed, at) => {
      expect(await killed.run(flags, at), at).toMatchObject({ signal: "SIGKILL" });
      expect(await pod.run(flags), at).toMatchObject({ status: 0 });
      expect(state(pod), at).toEqual(wanted);
      // What the kill left is cleaned up as well as what a run made.
      await killed.run(["--cleanup-only", ...flags], at);
      expect(await pod.run(["--cleanup-only", ...flags]), at).toMatchObject({ status: 0 });
      expect(rulesOf(pod.path, flavour), at).not.toMatch(/^-A|ISTIO/m);
      expect(pod.markRules(), at).toEqual([]);
    });
  });

  it.skipIf(unusable)("while it repairs blocks rather than leaks, and the next one ends in order", async () => {
    using pod = new IstioPod(V6_POD);
    expect(await pod.run(flags)).toMatchObject({ status: 0 });
    const wanted = state(pod);
    const killed = new KilledRun(pod, flavour);
    const drift = (pod: IstioPod): void => {
      for (const program of ["iptables", "ip6tables"]) {
        pod.exec(
          `${program}-${flavour}`,
          "-t",
          "nat",
          "-A",
          "ISTIO_INBOUND",
          "-p",
          "tcp",
          "--dport",
          "123",
          "-j",
          "ACCEPT",
        );
      }
    };
    drift(pod);
    const changes = await killed.count([...flags, "--reconcile"]);
    expect(state(pod)).toEqual(wanted);
    await atEvery(changes, flavour, async (pod, killed, at) => {
      expect(await pod.run(flags), at).toMatchObject({ status: 0 });
      drift(pod);
      expect(await killed.run([...flags, "--reconcile"], at), at).toMatchObject({ signal: "SIGKILL" });
      for (const program of ["iptables", "ip6tables"]) expectNoLeak(pod.exec(`${program}-${flavour}-save`), at);
      // The guardrails say that a repair was under way, so that the next run needs no leave.
      expect(await pod.run(flags), at).toMatchObject({ status: 0 });
      expect(state(pod), at).toEqual(wanted);
    });
  });

  it.skipIf(unusable)("by SIGTERM puts back what was there", async () => {
    using pod = new IstioPod(V6_POD);
    const abort = new AbortController();
    const before = state(pod).rules;
    const pipe = `${pod.folder}/reached`;
    const PATH = pod.wrap(
      ["ip6tables-restore", `ip6tables-${flavour}-restore`],
      `case "$*" in *--version*) exec REAL "$@" ;; esac\n[ -e ${pipe} ] || { touch ${pipe}; kill -TERM $PPID; exec sleep 60; }\nexec REAL "$@"`,
    );
    const { status } = await pod.run(flags, { env: { PATH }, signal: abort.signal });
    expect(status).toBe(1);
    expect(state(pod)).toMatchObject({ marks: [], v6: false });
    expect(state(pod).rules).toBe(before);
  });
});

/** 1 … changes, or the half of them that is this flavour's, two at a time in pods of their own. */
async function atEvery(
  changes: number,
  flavour: string,
  attempt: (pod: IstioPod, killed: KilledRun, at: string) => Promise<void>,
): Promise<void> {
  const half = flavour === "nft" ? 0 : 1;
  const points = Array.from({ length: changes }, (_, i) => String(i + 1)).filter((_, i) => ALL_MODES || i % 2 === half);
  const work = async (): Promise<void> => {
    using pod = new IstioPod(V6_POD);
    const killed = new KilledRun(pod, flavour);
    for (let at = points.shift(); at !== undefined; at = points.shift()) await attempt(pod, killed, at);
  };
  await Promise.all([work(), work()]);
}

/** Either all is dropped or the application's connections go to the proxy. */
function expectNoLeak(saved: string, when: string): void {
  const blocked = /-A OUTPUT -p tcp -m comment --comment "?shunt-guardrail"? -j DROP/.test(saved);
  const captured = /-A OUTPUT -j ISTIO_OUTPUT/.test(saved) && /-A ISTIO_OUTPUT -j ISTIO_REDIRECT/.test(saved);
  expect(blocked || captured, `${when}\n${saved}`).toBe(true);
}
