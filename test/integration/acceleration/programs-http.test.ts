// SPDX-License-Identifier: Apache-2.0
/** nginx with deferred accept and sendfile, and what reads from it: a Node client that polls. */
import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ProgramRig, pathsOf, unpacked, withProgram } from "../../support/program-rig.ts";

const PORT = 8080;
const CLIENT = join(import.meta.dirname, "../../support/programs/http-fetcher.mjs");

const config = (folder: string): string => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen ${PORT} deferred;
    root ${folder}/files;
    client_max_body_size 64m;
    location /stored/ { dav_methods PUT; create_full_put_path on; client_body_buffer_size 64k; }
  }
}
`;

withProgram("nginx with deferred accept", await unpacked("nginx-light"), (nginx, acceleration) => {
  it("serves and stores files byte by byte", async ({ skip }) => {
    await using rig = await ProgramRig.start(acceleration, skip);
    const large = randomBytes(3_000_000);
    await rig.askThere(["mkdir", "-p", `${rig.folder}/files/stored`, `${rig.folder}/body`]);
    // The worker is nobody, where it was started as root.
    await rig.askThere(["chmod", "-R", "777", rig.folder]);
    writeFileSync(join(rig.folder, "files/large"), large);
    writeFileSync(join(rig.folder, "files/small"), large.subarray(0, 700));
    writeFileSync(join(rig.folder, "nginx.conf"), config(rig.folder));
    const program = join(nginx.root, "usr/sbin/nginx");
    await rig.serve([program, "-p", rig.folder, "-c", "nginx.conf"], { env: nginx.env, port: PORT });

    const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    const expected = { large: digest(large), small: digest(large.subarray(0, 700)) };
    const asked = await rig.ask([process.execPath, CLIENT, rig.address, String(PORT), "12", "40"]);
    expect(JSON.parse(asked)).toEqual({ ...expected, requests: 12 * 40, stored: 12, wrong: 0 });
    const paths = pathsOf(await rig.recordsOf(PORT, 24));
    if (acceleration === "auto") expect(paths).toContain("direct");
    else expect(paths).toEqual(new Set(["copy"]));
  });
});
