// SPDX-License-Identifier: Apache-2.0
/** What the admin server answers to which path. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Flow } from "../config/formats/flow.ts";
import { type AdminSource, UnknownWorkloadError } from "./admin-source.ts";
import { BadQueryError, parseExplainQuery } from "./explain-query.ts";
import { streamFlows } from "./flow-stream.ts";
import { formatMetrics, PROMETHEUS_CONTENT_TYPE } from "./prometheus.ts";

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

type Route = (source: AdminSource, parameters: URLSearchParams, response: ServerResponse) => Promise<void>;

const ROUTES: Readonly<Record<string, Route>> = {
  "/metrics": async (source, _parameters, response) => {
    send(response, 200, PROMETHEUS_CONTENT_TYPE, formatMetrics(await source.metrics()));
  },
  "/ready": async (source, _parameters, response) => {
    const { ready, reason } = source.ready();
    send(response, ready ? 200 : 503, TEXT, `${reason}\n`);
  },
  "/config": async (source, _parameters, response) => sendJson(response, source.config()),
  "/status": async (source, _parameters, response) => sendJson(response, await source.status()),
  "/flows": async (source, parameters, response) => {
    const workload = parameters.get("workload");
    const wanted = (flow: Flow): boolean => workload === null || flow.workload === workload;
    if (parameters.get("follow") === "1") await streamFlows(source, response, wanted);
    else sendJson(response, (await source.flows()).filter(wanted));
  },
  "/explain": async (source, parameters, response) =>
    sendJson(response, await source.explain(parseExplainQuery(parameters))),
};

/** What changes something: by POST, and only where the asker must be the agent's own user. */
const CHANGES: Readonly<Record<string, Route>> = {
  "/acceleration": async (source, parameters, response) => {
    const state = parameters.get("state");
    if (state !== "on" && state !== "off") throw new BadQueryError(`state ${JSON.stringify(state)} is not on or off`);
    sendJson(response, source.accelerate(state === "on"));
  },
};

/** Answers one request; `mayChange` where the asker is trusted with more than looking. `onError` hears of failures that are the agent's own; the asker gets status 500. */
export async function answer(
  source: AdminSource,
  request: IncomingMessage,
  response: ServerResponse,
  mayChange: boolean,
  onError: (error: unknown) => void,
): Promise<void> {
  // Taken apart by hand: what comes as a request target need not be a URL, and "//x" would be a host.
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  const changes = mayChange && request.method === "POST" && Object.hasOwn(CHANGES, path);
  const route = changes ? CHANGES[path] : Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (!changes && request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    send(response, 405, TEXT, `${request.method} is not allowed: everything here is read with GET\n`);
  } else if (route === undefined) {
    send(response, 404, TEXT, `not found; there are ${Object.keys(ROUTES).join(", ")}\n`);
  } else {
    try {
      await route(source, new URLSearchParams(query), response);
    } catch (error) {
      fail(response, error, onError);
    }
  }
}

function fail(response: ServerResponse, error: unknown, onError: (error: unknown) => void): void {
  if (error instanceof BadQueryError) return send(response, 400, TEXT, `${error.message}\n`);
  if (error instanceof UnknownWorkloadError) return send(response, 404, TEXT, `${error.message}\n`);
  onError(error);
  if (response.headersSent) response.destroy();
  else send(response, 500, TEXT, `${error instanceof Error ? error.message : String(error)}\n`);
}

function sendJson(response: ServerResponse, value: unknown): void {
  send(response, 200, JSON_TYPE, `${JSON.stringify(value, null, 2)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(body);
}
