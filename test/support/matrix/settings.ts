// SPDX-License-Identifier: Apache-2.0
/** The include and exclude settings of the matrix, as dimensions that are combined. */
import { MACHINE_INTERFACE, OUTSIDE } from "./places.ts";
import { GROUP } from "./traffic.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Fields of a workload as the configuration file has them; the first value of each dimension is the default. */
const DIMENSIONS = {
  "outbound ports": {
    all: {},
    "exclude 8080": { outbound: { excludePorts: [8080] } },
    "include 8080": { outbound: { includePorts: [8080] } },
  },
  "outbound ranges": {
    all: {},
    "exclude remote": { outbound: { excludeCidrs: ranges("remote") } },
    "control plane only": { outbound: { includeCidrs: ranges("control") } },
    none: { outbound: { includeCidrs: [] } },
  },
  loopback: { passes: {}, captured: { outbound: { captureLoopback: true } } },
  "own addresses": { pass: {}, captured: { outbound: { captureLocal: true } } },
  dns: {
    off: {},
    "resolv.conf": { outbound: { dns: { capture: "resolv.conf" } } },
    all: { outbound: { dns: { capture: "all" } } },
  },
  groups: {
    all: {},
    [`exclude ${GROUP}`]: { outbound: { excludeGroups: [GROUP] } },
    [`only ${GROUP}`]: { outbound: { includeGroups: [GROUP] } },
  },
  "inbound ports": {
    all: {},
    "exclude 8080, 15008": { inbound: { excludePorts: [8080, 15008] } },
    "only 8080": { inbound: { includePorts: [8080] } },
  },
  clients: {
    all: {},
    "exclude kubelet": { inbound: { excludeCidrs: ranges("kubelet") } },
    "remote only": { inbound: { includeCidrs: ranges("remote") } },
  },
  source: { "pass-through": {}, preserved: { inbound: { preserveSource: true } } },
  interfaces: {
    all: {},
    [`exclude ${MACHINE_INTERFACE}`]: { interfaces: { exclude: [MACHINE_INTERFACE] } },
    [`reroute ${MACHINE_INTERFACE}`]: { interfaces: { reroute: [MACHINE_INTERFACE] } },
  },
  "fail mode": { deny: {}, direct: { failMode: "direct" } },
  directions: {
    both: {},
    "outbound only": { inbound: { enabled: false } },
    "inbound only": { outbound: { enabled: false } },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Fields>>>>;

type Dimension = keyof typeof DIMENSIONS;

export interface Setting {
  /** What is not the default. */
  readonly title: string;
  readonly values: Readonly<Record<Dimension, string>>;
  /** For a workload of the configuration file. */
  readonly fields: Fields;
}

const NAMES = Object.keys(DIMENSIONS) as Dimension[];

function ranges(who: keyof typeof OUTSIDE): string[] {
  return [`${OUTSIDE[who].v4}/32`, `${OUTSIDE[who].v6}/128`];
}

function valuesOf(dimension: Dimension): string[] {
  return Object.keys(DIMENSIONS[dimension]);
}

/** Every dimension at its default but for `changes`. */
export function setting(changes: Partial<Record<Dimension, string>>): Setting {
  const values = Object.fromEntries(NAMES.map((name) => [name, changes[name] ?? valuesOf(name)[0] ?? ""])) as Record<
    Dimension,
    string
  >;
  const changed = NAMES.filter((name) => values[name] !== valuesOf(name)[0]);
  const title = changed.map((name) => `${name}: ${values[name]}`).join("; ") || "defaults";
  const parts = NAMES.map((name): Fields => (DIMENSIONS[name] as Readonly<Record<string, Fields>>)[values[name]] ?? {});
  return { title, values, fields: parts.reduce(merge, {}) };
}

/** The defaults, then every other value by itself. */
export function oneAtATime(): Setting[] {
  const changes = NAMES.flatMap((name) =>
    valuesOf(name)
      .slice(1)
      .map((value) => setting({ [name]: value })),
  );
  return [setting({}), ...changes];
}

/** The first of these, and every third, another third for each `part`; of the others, what has a value that none has yet. */
export function thirdOf(settings: readonly Setting[], part: number): Setting[] {
  const seen = new Set<string>();
  const take = (one: Setting): boolean => {
    const news = valuesIn(one).filter((value) => !seen.has(value));
    for (const value of news) seen.add(value);
    return news.length > 0;
  };
  const taken = new Set(
    settings.filter((one, index) => (index === 0 || index % 3 === part % 3) && (take(one) || true)),
  );
  return settings.filter((one) => taken.has(one) || take(one));
}

function valuesIn({ values }: Setting): string[] {
  return NAMES.map((name) => `${name}=${values[name]}`);
}

type Row = Partial<Record<Dimension, string>>;

/** Rows that are tried for each one that is taken. */
const CANDIDATES = 60;

/** Few settings in which any two values of two dimensions meet: greedy (as AETG), and always the same. */
export function pairwise(): Setting[] {
  const missing = new Set(NAMES.flatMap((a, i) => NAMES.slice(i + 1).flatMap((b) => pairsOf(a, b))));
  const random = sequence();
  const settings: Setting[] = [setting({})];
  for (const pair of covered(settings[0]?.values ?? {}, missing)) missing.delete(pair);
  while (missing.size > 0) {
    const rows = Array.from({ length: CANDIDATES }, () => rowFrom(missing, random));
    const gains = rows.map((row) => covered(row, missing).length);
    const best = rows[gains.indexOf(Math.max(...gains))] ?? {};
    for (const pair of covered(best, missing)) missing.delete(pair);
    settings.push(setting(best));
  }
  return settings;
}

/** Settings by chance, the same ones every time. */
export function random(count: number): Setting[] {
  const next = sequence();
  return Array.from({ length: count }, () =>
    setting(Object.fromEntries(NAMES.map((name) => [name, valuesOf(name)[next(valuesOf(name).length)]]))),
  );
}

function pairsOf(a: Dimension, b: Dimension): string[] {
  return valuesOf(a).flatMap((va) => valuesOf(b).map((vb) => `${a}=${va}|${b}=${vb}`));
}

/** Begins with a pair that is missing, then gives each dimension in turn the value that covers most. */
function rowFrom(missing: ReadonlySet<string>, random: (below: number) => number): Row {
  const row: Row = {};
  const pair = [...missing][random(missing.size)] ?? "";
  for (const half of pair.split("|")) {
    const [name = "", value = ""] = half.split("=");
    row[name as Dimension] = value;
  }
  const order = NAMES.filter((name) => row[name] === undefined);
  while (order.length > 0) {
    const [name] = order.splice(random(order.length), 1);
    if (name === undefined) continue;
    const values = valuesOf(name);
    const gains = values.map((value) => covered({ ...row, [name]: value }, missing).length);
    const best = values.filter((_, i) => gains[i] === Math.max(...gains));
    row[name] = best[random(best.length)] ?? "";
  }
  return row;
}

/** The numbers of Park and Miller: the selection is part of what the table of the documentation was made from. */
function sequence(): (below: number) => number {
  let state = 4711;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

function covered(row: Row, missing: ReadonlySet<string>): string[] {
  return NAMES.flatMap((a, i) =>
    NAMES.slice(i + 1)
      .map((b) => `${a}=${row[a]}|${b}=${row[b]}`)
      .filter((pair) => missing.has(pair)),
  );
}

/** Mappings are merged, what else both have is the second's. */
function merge(a: Fields, b: Fields): Fields {
  const merged: Record<string, unknown> = { ...a };
  for (const [name, value] of Object.entries(b)) {
    const before = merged[name];
    merged[name] = isMapping(before) && isMapping(value) ? merge(before, value) : value;
  }
  return merged;
}

function isMapping(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
