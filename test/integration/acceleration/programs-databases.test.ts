// SPDX-License-Identifier: Apache-2.0
/** Redis and PostgreSQL, with the load tools that come with them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ProgramRig, pathsOf, unpacked, withProgram } from "../../support/program-rig.ts";

const redis = await unpacked("redis-server");
const tools = await unpacked("redis-tools");
const redisPrograms = typeof redis === "string" ? redis : typeof tools === "string" ? tools : { redis, tools };

withProgram("Redis", redisPrograms, ({ redis, tools }, acceleration) => {
  it("counts what redis-benchmark did and gives back what redis-cli stored", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const port = 6379;
    const server = join(redis.root, "usr/bin/redis-server");
    const flags = [
      "--port",
      String(port),
      "--bind",
      "0.0.0.0",
      "--protected-mode",
      "no",
      "--save",
      "",
      "--dir",
      rig.folder,
    ];
    await rig.serve([server, ...flags], { env: redis.env, port });
    const at = ["-h", rig.address, "-p", String(port)];
    const cli = (args: readonly string[], stdin?: string): Promise<string> =>
      rig.ask([join(tools.root, "usr/bin/redis-cli"), ...at, ...args], {
        env: tools.env,
        ...(stdin === undefined ? {} : { stdin }),
      });

    const benchmark = ["-n", "4000", "-c", "20", "-d", "300", "-r", "50", "-t", "set,get,incr", "-q"];
    await rig.ask([join(tools.root, "usr/bin/redis-benchmark"), ...at, ...benchmark], { env: tools.env });
    const counted = await cli(["info", "commandstats"]);
    for (const command of ["set", "get", "incr"]) expect(counted).toMatch(`cmdstat_${command}:calls=4000,`);
    const value = "0123456789abcdef".repeat(60_000);
    expect(await cli(["-x", "set", "large"], value)).toContain("OK");
    expect(await cli(["get", "large"])).toBe(`${value}\n`);

    const records = await rig.recordsOf(port, 100);
    if (acceleration === "auto") expect(pathsOf(records)).toContain("direct");
    else expect(pathsOf(records)).toEqual(new Set(["copy"]));
  });
});

/**
 * The package seen at /mnt by an account that may not write anywhere else: PostgreSQL refuses to run as root, and the
 * cache may lie where only root can look.
 */
function asNobody(root: string, program: string, args: readonly string[]): string[] {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const within = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /mnt && exec "$@"', root];
  return [...within, ...nobody, `/mnt/usr/lib/postgresql/15/bin/${program}`, ...args];
}

const postgresql = await unpacked("postgresql-15");

withProgram("PostgreSQL", postgresql, ({ root, env }, acceleration) => {
  it("has the sums that pgbench made", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const port = 5432;
    const bin = (name: string): string => join(root, "usr/lib/postgresql/15/bin", name);
    const data = join(rig.folder, "data");
    await rig.askThere(["chmod", "777", rig.folder]);
    const inside = Object.fromEntries(
      Object.entries(env).map(([name, value]) => [name, value.replaceAll(root, "/mnt")]),
    );
    await rig.askThere(asNobody(root, "initdb", ["-D", data, "-U", "bench", "-A", "trust", "-N"]), { env: inside });
    await rig.askThere(["sh", "-c", `echo "host all all 0.0.0.0/0 trust" >> ${data}/pg_hba.conf`]);
    const settings = ["listen_addresses=*", "fsync=off", `unix_socket_directories=${rig.folder}`];
    const flags = settings.flatMap((setting) => ["-c", setting]);
    await rig.serve(asNobody(root, "postgres", ["-D", data, ...flags]), { env: inside, port });
    expect(existsSync(join(data, "postmaster.pid"))).toBe(true);
    const at = ["-h", rig.address, "-p", String(port), "-U", "bench"];
    await rig.ask([bin("pgbench"), ...at, "-i", "-q", "-s", "1", "postgres"], { env });
    const transactions = ["-c", "8", "-j", "2", "-t", "60", "-n"];
    const told = await rig.ask([bin("pgbench"), ...at, ...transactions, "postgres"], { env });
    expect(told).toContain("number of transactions actually processed: 480/480");
    expect(told).toContain("number of failed transactions: 0");
    const sums = `select (select count(*) from pgbench_history), (select count(*) from pgbench_accounts),
      (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts),
      (select sum(delta) from pgbench_history) = (select sum(bbalance) from pgbench_branches)`;
    expect(await rig.ask([bin("psql"), ...at, "-tA", "-c", sums, "postgres"], { env })).toBe("480|100000|t|t\n");
    // A table of some megabytes as one answer.
    const rows = await rig.ask(
      [bin("psql"), ...at, "-tA", "-c", "select aid from pgbench_accounts order by 1", "postgres"],
      {
        env,
      },
    );
    expect(rows).toBe(Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(""));
    expect((await rig.recordsOf(port, 20)).every(({ outcome }) => outcome === "closed")).toBe(true);
  });
});
