// SPDX-License-Identifier: Apache-2.0
import { execFile } from "node:child_process";
import type { Told } from "./netns-sockets.ts";

/** A client that prints what it is told, or the name of its error. */
const CLIENT = `
  const socket = require("node:net").connect(Number(process.argv[2]), process.argv[1]);
  socket.pipe(process.stdout);
  socket.on("error", (error) => console.log(JSON.stringify(error.code)));
`;

export interface AskingIdentity {
  readonly uid?: number;
  readonly gid?: number;
  /** cgroup v2 directory the process enters before it connects. */
  readonly cgroup?: string;
}

/** As NetnsSockets.ask, but from a process of its own with that identity; an error comes as its name. */
export function askAs(
  netnsPath: string,
  identity: AskingIdentity,
  address: string,
  port: number,
): Promise<Told | string> {
  const node = [process.execPath, "-e", CLIENT, address, String(port)];
  const uid = identity.uid ?? 0;
  const gid = identity.gid ?? 0;
  const enter = 'if [ -n "$0" ]; then echo $$ > "$0/cgroup.procs"; fi; exec "$@"';
  const user = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
  const args = [`--net=${netnsPath}`, "sh", "-c", enter, identity.cgroup ?? "", ...user, ...node];
  return new Promise((resolve, reject) => {
    execFile("nsenter", args, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}: ${stderr}`));
      else resolve(JSON.parse(stdout) as Told | string);
    });
  });
}
