// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/command-table.ts";
import { NoInterceptionError } from "../../../src/intercept/select.ts";
import { ShuntError } from "../../../src/util/shunt-error.ts";
import { UnsupportedError } from "../../../src/util/unsupported-error.ts";
import { type CliSurroundings, shunt } from "../../support/cli-fixture.ts";

describe("help", () => {
  it("of the program lists every command", async () => {
    const { status, out, err } = await shunt(["--help"]);
    expect([status, err]).toEqual([0, ""]);
    for (const { name, summary } of COMMANDS) expect(out).toMatch(new RegExp(`^ {2}${name}\\b.*${summary}$`, "m"));
  });

  it.each(COMMANDS.map(({ name }) => name))("of %s lists every option, by --help and by help", async (name) => {
    const { status, out } = await shunt([name, "--help"]);
    expect(status).toBe(0);
    for (const { long } of COMMANDS.find((command) => command.name === name)?.options ?? [])
      expect(out).toMatch(new RegExp(`^  (-\\w, )?${long} `, "m"));
    expect((await shunt(["help", name])).out).toBe(out);
  });

  it("and version go to standard output", async () => {
    expect(await shunt(["--version"])).toMatchObject({ status: 0, out: "1.2.3\n", err: "" });
  });
});

describe("a wrong use ends with 2 and one line that names flag and value", () => {
  it.each([
    [[], "shunt: no command given, see shunt --help"],
    [["fly"], "shunt: unknown command 'fly'"],
    [["run", "--bogus"], "shunt: unknown option '--bogus'"],
    [["run", "--confg", "x"], "shunt: unknown option '--confg' (Did you mean --config?)"],
    [["exec", "--netns"], "shunt: option '--netns <NS>' argument missing"],
    [["exec"], "shunt: missing required argument 'CMD'"],
    [
      ["exec", "--mode", "bpf", "ls"],
      'shunt: --mode "bpf" is not one of auto, ebpf, mixed, iptables, tproxy, nftables',
    ],
    [["exec", "--preset", "x", "ls"], 'shunt: --preset "x" is not one of istio, kuma, linkerd, osm, all'],
    [["run", "--workers", "3x"], 'shunt: --workers "3x" is not a number of worker threads (1 … 256)'],
    [["run", "--workers", "0"], 'shunt: --workers "0" is not a number of worker threads (1 … 256)'],
    [["run", "--workload-pid", "-1"], 'shunt: --workload-pid "-1" is not a process id (1 … 4194304)'],
    [["run", "--admin", "here"], 'shunt: --admin "here" is not ADDRESS:PORT, such as 127.0.0.1:15000 or [::1]:15000'],
    [["run", "--name", "../x"], 'shunt: --name "../x" is not a name (letters, digits, - and _, at most 63)'],
    [["run", "--record", ""], 'shunt: --record "" is not a name or a path'],
    [
      ["run", "--exclude-outbound-ports", "22,x"],
      'shunt: --exclude-outbound-ports "22,x" is not a list of ports such as 80,443',
    ],
    [["explain", "--address", "localhost"], 'shunt: --address "localhost" is not an IP address'],
    [["explain", "--uid", "root"], 'shunt: --uid "root" is not a user or group id (0 … 4294967294)'],
    [["explain", "--mark", "0x539/0xfff"], 'shunt: --mark "0x539/0xfff" is not a mark, such as 1337 or 0x539'],
    [["explain", "--interface", "a/b"], 'shunt: --interface "a/b" is not a name of an interface'],
    [["bench", "--only", "("], 'shunt: --only "(" is not a regular expression'],
    [["completion", "tcsh"], 'shunt: SHELL "tcsh" is not one of bash, zsh, fish'],
    [["exec", "--inbound", "80,90", "ls"], "shunt exec: --inbound 80,90 only together with --netns"],
    [["run"], "shunt run: no workload: give --config FILE, --workload-netns, --workload-pid or --workload-cgroup"],
    [
      ["run", "--config", "f", "--no-inbound"],
      "shunt run: --no-inbound can't be used together with --config: workloads come from the file",
    ],
    [["run", "--json", "--workload-netns", "a"], "shunt run: --json only together with --check"],
    [["explain", "--workload", "a"], "shunt explain: --direction is required"],
    [["clean", "--all", "--name", "a"], "shunt clean: --name a can't be used together with --all"],
  ])("%j", async (argv, message) => {
    const { status, out, err, calls } = await shunt(argv);
    expect(err.endsWith("\n") && err.trimEnd().split("\n").length).toBe(1);
    expect(err.trimEnd()).toEqual(message);
    expect([status, out, calls]).toEqual([2, "", []]);
  });
});

describe("a failure", () => {
  const failing = (error: Error): CliSurroundings => {
    const fail = async (): Promise<never> => {
      throw error;
    };
    return { actions: { clean: fail, execCommand: fail } };
  };

  it("ends with 1, for exec with 125, and is told in one line", async () => {
    const surroundings = failing(new ShuntError("ERR_X", "agent default (process 7) still runs"));
    expect(await shunt(["clean"], surroundings)).toMatchObject({
      status: 1,
      err: "shunt clean: agent default (process 7) still runs\n",
    });
    expect(await shunt(["exec", "ls"], surroundings)).toMatchObject({ status: 125 });
  });

  it("that this machine is to blame for ends with 69, for exec with 125", async () => {
    const surroundings = failing(new ShuntError("ERR_X", "outer", { cause: new UnsupportedError("no cgroup2") }));
    expect((await shunt(["clean"], surroundings)).status).toBe(69);
    expect((await shunt(["exec", "ls"], surroundings)).status).toBe(125);
    const cause = new NoInterceptionError("ERR_INTERCEPT_IMPOSSIBLE", "iptables: no nf_tables");
    expect((await shunt(["clean"], failing(new ShuntError("ERR_X", "workload a", { cause })))).status).toBe(69);
  });

  it("nobody foresaw comes with its stack", async () => {
    const { status, err } = await shunt(["clean"], failing(new RangeError("odd")));
    expect(status).toBe(1);
    expect(err).toMatch(/^shunt clean: internal error: RangeError: odd\n {4}at /);
  });

  it("is told before what failed while it was cleared up", async () => {
    const clean = (): Promise<never> => {
      using _busy = {
        [Symbol.dispose]: () => {
          throw new ShuntError("ERR_Y", "the cgroup is busy");
        },
      };
      throw new ShuntError("ERR_X", "the agent ended", { cause: new UnsupportedError("no cgroup2") });
    };
    expect(await shunt(["clean"], { actions: { clean } })).toMatchObject({
      status: 69,
      err: "shunt clean: the agent ended\nshunt clean: the cgroup is busy\n",
    });
  });
});
