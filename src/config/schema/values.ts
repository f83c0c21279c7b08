// SPDX-License-Identifier: Apache-2.0
/** Schemas of single values. Each message is "VALUE is not a … (what is allowed)". */

import { isIP } from "node:net";
import { z } from "zod";
import { formatDuration, parseDuration } from "../../util/duration.ts";
import { parseCidr } from "../../util/ip.ts";
import { isInterfaceName, MAX_INTERFACE_NAME } from "../interface-name.ts";
import { parseListenAddress } from "../listen-address.ts";
import { parseMark } from "../mark.ts";

const MAX_SHOWN = 60;

/** The value as the reader wrote it, more or less, and never more than fits on a line. */
export function show(value: unknown): string {
  const text = value === undefined ? "nothing" : (JSON.stringify(value) ?? typeof value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** The message of a value that is not what `allowed` says. */
export function isNot(allowed: string): { error: (issue: { readonly input?: unknown }) => string } {
  return { error: ({ input }) => `${show(input)} is not ${allowed}` };
}

function integer(allowed: string, minimum: number, maximum: number): z.ZodInt {
  const message = isNot(allowed);
  return z.int(message).min(minimum, message).max(maximum, message);
}

function text(allowed: string, accepts: (text: string) => boolean): z.ZodString {
  return z.string(isNot(allowed)).refine(accepts, isNot(allowed));
}

function choice<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, isNot(`one of ${values.join(", ")}`));
}

export const flag = z.boolean(isNot("true or false"));
export const port = integer("a port (0 … 65535)", 0, 65_535);
/** A destination; 0 is none. */
const destinationPort = integer("a port (1 … 65535)", 1, 65_535);
export const ports = z.array(destinationPort, isNot("a list of ports"));
export const userId = integer("a user or group id (0 … 4294967294)", 0, 4_294_967_294);
export const userIds = z.union([userId, z.array(userId)], isNot("a user or group id, or a list of them"));
export const processId = integer("a process id (1 … 4194304)", 1, 4_194_304);
export const workerCount = integer("a number of worker threads (1 … 256)", 1, 256);
/** SO_RCVBUF of most machines and more, and far from the memory of one. */
export const byteCount = integer("a number of bytes (65536 … 1073741824)", 65_536, 1_073_741_824);
export const oneOf = choice;

export function someOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.array(choice(values), isNot(`a list of ${values.join(", ")}`));
}

export const portSet = z.union(
  [z.literal("*"), z.array(z.union([z.literal("*"), destinationPort], isNot("a port (1 … 65535)")))],
  {
    error: ({ input }) => `${show(input)} is not "*" or a list of ports`,
  },
);

const GROUP = "a group's id or name";
const group = z.union([userId, text(GROUP, (value) => /^[a-z_][\w-]*\$?$/i.test(value))], isNot(GROUP));
export const groups = z.array(group, isNot("a list of groups"));
export const groupSet = z.union([z.literal("*"), groups], {
  error: ({ input }) => `${show(input)} is not "*" or a list of groups`,
});

/** IFNAMSIZ without the final zero (include/uapi/linux/if.h). */
export const interfaces = z.array(
  text(`an interface name (at most ${MAX_INTERFACE_NAME} characters)`, isInterfaceName),
  isNot("a list of interface names"),
);

export const annotations = z.record(
  z.string(),
  z.string(isNot('a text (annotations are texts: write "15020", not 15020)')),
  isNot("a mapping of annotations to texts"),
);

const CIDR = "an address range such as 10.0.0.0/8 or fd00::/8";
const cidr = text(CIDR, (value) => succeeds(() => parseCidr(value)));
export const cidrs = z.array(cidr, isNot("a list of address ranges"));
export const cidrSet = z.union([z.literal("*"), z.array(z.union([z.literal("*"), cidr], isNot(`"*" or ${CIDR}`)))], {
  error: ({ input }) => `${show(input)} is not "*" or a list of address ranges`,
});

export const resolvers = z
  .array(
    text("an IP address", (value) => isIP(value) !== 0 && !value.includes("%")),
    isNot("a list of IP addresses"),
  )
  .min(1, { error: () => "[] names no resolver (leave the field out to use those of resolv.conf)" });

const DURATION = "a duration such as 500ms, 10s or 1h30m";
export const timeout = text(
  `${DURATION}, up to ${formatDuration(2_073_600_000)}`,
  (value) => parseDuration(value) !== undefined,
);
export const positiveTimeout = text(`${DURATION}, more than 0s`, (value) => (parseDuration(value) ?? 0) > 0);

export const mark = z.union([z.int(), z.string()], isNot("a mark")).refine((value) => parseMark(value) !== undefined, {
  error: ({ input }) => `${show(input)} is not a mark (1 … 0xffffffff, or "VALUE/MASK" with VALUE within MASK)`,
});

export const listenAddress = z
  .union([z.int(), z.string()], isNot("ADDRESS:PORT"))
  .refine((value) => parseListenAddress(value) !== undefined, {
    error: ({ input }) => `${show(input)} is not ADDRESS:PORT, such as 127.0.0.1:15000 or [::1]:15000`,
  });

/** Also a directory under /run and under bpffs, which refuses dots (kernel/bpf/inode.c, bpf_lookup). */
export const scopeName = text("a name (letters, digits, - and _, at most 63)", (value) =>
  /^[A-Za-z0-9][\w-]{0,62}$/.test(value),
);
export const workloadName = text(
  "a name (letters, digits, -, _ and ., at most 253, not starting with a sign)",
  (value) => /^[A-Za-z0-9][\w.-]{0,252}$/.test(value),
);
export const filePath = text("a path", (value) => value !== "" && !value.includes("\0"));
export const netns = text("a name under /run/netns or an absolute path", (value) =>
  /^\/[^\0]+$|^(?!\.{1,2}$)[^/\0]+$/.test(value),
);
export const cgroup = text("a cgroup directory: absolute, or below the cgroup2 mount", (value) => {
  return value !== "" && !value.includes("\0") && !value.split("/").includes("..");
});

function succeeds(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
