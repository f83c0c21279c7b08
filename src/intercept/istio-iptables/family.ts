// SPDX-License-Identifier: Apache-2.0

import type { Family } from "../iptables/rule.ts";
import type { FamilyTools, Flavour, Tools } from "../iptables/tools.ts";
import type { ChainFact } from "../istio/render-iptables.ts";
import { type LooseRule, renderCleanup, renderGuardrailRemoval, renderGuardrails, renderReturn } from "./changes.ts";
import { guardrailsIn, leadsToOurChain, parseSavedRules, type SavedRules } from "./saved-rules.ts";
import { refusal, type TargetNamespace } from "./target.ts";

/** Seconds to wait for the xtables lock; the nft flavour takes none. Istio's figure. */
const LOCK_WAIT_SECONDS = "30";

/** One family of one flavour in one namespace: reads and changes it. */
export class FamilyRules {
  readonly family: Family;
  readonly #flavour: Flavour;
  readonly #tools: FamilyTools;
  readonly #target: TargetNamespace;
  readonly #prefix: string;

  constructor(target: TargetNamespace, family: Family, tools: Tools, prefix: string) {
    const own = tools[family];
    if (own === undefined) throw new TypeError(`IPv${family} tools of flavour ${tools.flavour} are not installed`);
    this.family = family;
    this.#flavour = tools.flavour;
    this.#tools = own;
    this.#target = target;
    this.#prefix = prefix;
  }

  async saveText(): Promise<string> {
    try {
      return (await this.#target.run(this.#tools.save, [])).stdout;
    } catch (error) {
      throw refusal(`IPv${this.family} rules could not be read`, error);
    }
  }

  async read(): Promise<SavedRules> {
    return parseSavedRules(await this.saveText());
  }

  /** Applies a text; each table in it completely or not at all. */
  async restore(text: string): Promise<void> {
    if (text === "") return;
    try {
      await this.#target.run(this.#tools.restore, ["--noflush", "-w", LOCK_WAIT_SECONDS], text);
    } catch (error) {
      throw refusal(`IPv${this.family} rules were refused`, error);
    }
  }

  /** Of the checks (arguments of iptables with "-C") those whose rule is not there. */
  async missing(checks: readonly (readonly string[])[]): Promise<readonly (readonly string[])[]> {
    if (checks.length === 0 || (await this.#allThere(checks))) return [];
    const missing: (readonly string[])[] = [];
    for (const check of checks) if (!(await this.#isThere(check))) missing.push(check);
    return missing;
  }

  /**
   * One program for all: iptables-restore takes "-C", too. An old one may refuse it, which is why a refusal says nothing
   * yet. nft has nothing to write then, and with --test it does not even look; legacy would write the table back.
   */
  async #allThere(checks: readonly (readonly string[])[]): Promise<boolean> {
    const tables = [...new Set(checks.map((check) => check[1] ?? ""))];
    const text = tables
      .map((table) => {
        const lines = checks.filter((check) => check[1] === table).map((check) => check.slice(2).join(" "));
        return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
      })
      .join("");
    const test = this.#flavour === "legacy" ? ["--test"] : [];
    return this.#succeeds(this.#tools.restore, ["--noflush", ...test, "-w", LOCK_WAIT_SECONDS], text);
  }

  #isThere(check: readonly string[]): Promise<boolean> {
    return this.#succeeds(this.#tools.save.replace(/-save$/, ""), ["-w", LOCK_WAIT_SECONDS, ...check]);
  }

  async #succeeds(program: string, args: readonly string[], stdin?: string): Promise<boolean> {
    try {
      await this.#target.run(program, args, stdin);
      return true;
    } catch (error) {
      this.#target.signal?.throwIfAborted();
      if ((refusal("", error) as { code?: string }).code === "ERR_ISTIO_REFUSED") return false;
      throw error;
    }
  }

  /** Takes away all of ours; `facts` tell the rules that stand in chains of the kernel's by themselves. */
  async cleanUp(facts: readonly ChainFact[]): Promise<void> {
    const checks = facts.filter((fact) => fact.builtIn).flatMap((fact) => fact.checks);
    const alone = checks.filter((check) => !leadsToOurChain(` ${check.slice(3).join(" ")}`, this.#prefix));
    const distinct = [...new Map(alone.map((check) => [check.join(" "), check])).values()];
    // A rule can be there more than once, and "-D" takes one.
    for (;;) {
      const loose: LooseRule[] = [];
      for (const check of distinct) {
        if (await this.#isThere(check)) loose.push({ table: check[1] ?? "", words: check.slice(3) });
      }
      await this.restore(renderCleanup(await this.read(), this.#prefix, loose));
      if (loose.length === 0) return;
    }
  }

  /** Back to how it was, whatever signal comes. */
  async putBack(before: SavedRules, facts: readonly ChainFact[]): Promise<void> {
    this.#target.ignoreSignal();
    await this.cleanUp(facts);
    await this.restore(renderReturn(before, await this.read(), this.#prefix));
  }

  async block(): Promise<void> {
    await this.restore(renderGuardrails(await this.read()));
  }

  /** Whether there was something to unblock. */
  async unblock(): Promise<boolean> {
    const saved = await this.read();
    await this.restore(renderGuardrailRemoval(saved));
    return guardrailsIn(saved).length > 0;
  }
}
