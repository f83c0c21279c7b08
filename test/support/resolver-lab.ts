// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import dnsPacket from "dns-packet";
import { TestDnsServer, type TestQuery } from "./dns-server.ts";
import { ip, NetLab } from "./net-lab.ts";

/** What a resolver of the lab says; a name of "big…" gets 20 texts of 200 characters. */
interface Zone {
  readonly a: string;
  readonly aaaa: string;
}

/** A client's namespace with a resolv.conf of its own, and two resolvers, each on both families, in another. */
export class ResolverLab implements Disposable {
  readonly lab: NetLab;
  readonly first: TestDnsServer;
  readonly second: TestDnsServer;
  readonly v4: readonly [string, string];
  readonly v6: readonly [string, string];
  readonly #folder = mkdtempSync(join(tmpdir(), "shunt-test-resolv-"));

  private constructor(
    lab: NetLab,
    v4: readonly [string, string],
    v6: readonly [string, string],
    servers: readonly [TestDnsServer, TestDnsServer],
  ) {
    this.lab = lab;
    this.v4 = v4;
    this.v6 = v6;
    [this.first, this.second] = servers;
    const folder = this.#netnsFolder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "resolv.conf"), resolvConf([v4[0], v6[0]]));
  }

  static async create(): Promise<ResolverLab> {
    const lab = new NetLab("resolvers");
    try {
      const { server } = lab;
      const v4 = [server.v4, server.v4.replace(/2$/, "3")] as const;
      const v6 = [server.v6, server.v6.replace(/2$/, "3")] as const;
      ip("-n", server.netns, "addr", "add", `${v4[1]}/24`, "dev", "eth0");
      ip("-n", server.netns, "addr", "add", `${v6[1]}/64`, "dev", "eth0", "nodad");
      const first = await resolver(server.path, [v4[0], v6[0]], { a: "192.0.2.1", aaaa: "2001:db8::1" });
      const second = await resolver(server.path, [v4[1], v6[1]], { a: "192.0.2.2", aaaa: "2001:db8::2" });
      return new ResolverLab(lab, v4, v6, [first, second]);
    } catch (error) {
      lab[Symbol.dispose]();
      throw error;
    }
  }

  get netns(): string {
    return this.lab.client.path;
  }

  /** argv that runs a program in the client's namespace with these resolvers in its /etc/resolv.conf. */
  inside(argv: readonly string[], resolvers: readonly string[] = [this.v4[0], this.v6[0]]): string[] {
    return ["nsenter", `--net=${this.netns}`, "--", ...this.withResolvers(argv, resolvers)];
  }

  withResolvers(argv: readonly string[], resolvers: readonly string[]): string[] {
    const file = join(this.#folder, `${resolvers.join("+").replaceAll(":", "_")}.conf`);
    writeFileSync(file, resolvConf(resolvers));
    return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', file, ...argv];
  }

  [Symbol.dispose](): void {
    this.first[Symbol.dispose]();
    this.second[Symbol.dispose]();
    this.lab[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
    rmSync(this.#netnsFolder, { recursive: true, force: true });
    if (existsSync("/etc/netns") && readdirSync("/etc/netns").length === 0) rmdirSync("/etc/netns");
  }

  get #netnsFolder(): string {
    return join("/etc/netns", this.lab.client.netns);
  }
}

function resolvConf(resolvers: readonly string[]): string {
  return `${resolvers.map((address) => `nameserver ${address}\n`).join("")}options timeout:5 attempts:1\n`;
}

async function resolver(netns: string, addresses: readonly string[], zone: Zone): Promise<TestDnsServer> {
  const server = await TestDnsServer.start(netns, addresses);
  server.handler = (query) => query.reply(answer(query, zone));
  return server;
}

/** As a real server: over UDP never more than the client takes. */
function answer(query: TestQuery, zone: Zone): Buffer {
  const { packet, name, transport } = query;
  const type = packet.questions?.[0]?.type;
  const texts = Array.from({ length: 20 }, () => ({ type: "TXT" as const, name, ttl: 1, data: "x".repeat(200) }));
  const answers =
    type === "TXT"
      ? texts
      : type === "AAAA"
        ? [{ type: "AAAA" as const, name, ttl: 1, data: zone.aaaa }]
        : [{ type: "A" as const, name, ttl: 1, data: zone.a }];
  const flags = dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE;
  const base = { type: "response" as const, id: packet.id ?? 0, questions: packet.questions ?? [] };
  const whole = dnsPacket.encode({ ...base, flags, answers });
  const opt = packet.additionals?.find((record) => record.type === "OPT");
  const limit = transport === "tcp" ? 65_535 : opt?.type === "OPT" ? opt.udpPayloadSize : 512;
  return whole.length <= limit
    ? whole
    : dnsPacket.encode({ ...base, flags: flags | dnsPacket.TRUNCATED_RESPONSE, answers: [] });
}
