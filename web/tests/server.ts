/**
 * @license
 * Copyright 2026 The TokenUnify Authors
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */

/**
 * @file A small static server for the browser tests: the built site, a data
 * folder and models, with faults that a test can switch on.
 *
 * It sends CORS headers and answers ranges, as object stores do, and sets
 * neither COOP nor COEP, as plain hosting does not.
 */

import { createReadStream, existsSync, statSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

/** What a matching request gets instead of its file. */
export type Fault =
  | { readonly kind: "missing" }
  | { readonly kind: "unavailable"; readonly times: number }
  | { readonly kind: "truncated" }
  | {
      readonly kind: "replaced";
      readonly body: Buffer;
      readonly type?: string;
    };

const TYPES: Record<string, string> = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".map": "application/json",
  ".wasm": "application/wasm",
};

export class TestServer {
  private readonly faults: {
    pattern: RegExp;
    fault: Fault;
    seen: Map<string, number>;
  }[] = [];
  /** Paths requested so far, oldest first. */
  readonly requests: string[] = [];
  /** Sent with pages and scripts; workers take theirs from their script. */
  contentSecurityPolicy: string | undefined;

  private constructor(
    private readonly server: Server,
    private readonly mounts: ReadonlyMap<string, string>,
  ) {}

  /** @param mounts URL prefix to folder; the longest prefix wins */
  static async start(mounts: Record<string, string>): Promise<TestServer> {
    const server = createServer();
    const instance = new TestServer(server, new Map(Object.entries(mounts)));
    server.on("request", (request, response) =>
      instance.handle(request, response),
    );
    await new Promise<void>((resolve) =>
      server.listen(0, "127.0.0.1", resolve),
    );
    return instance;
  }

  get origin(): string {
    const { port } = this.server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  addFault(pattern: RegExp, fault: Fault): void {
    this.faults.push({ pattern, fault, seen: new Map() });
  }

  clearFaults(): void {
    this.faults.length = 0;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const name = decodeURIComponent(pathname);
    this.requests.push(name);
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "range");
    response.setHeader(
      "Access-Control-Expose-Headers",
      "content-range, content-length",
    );
    if (
      this.contentSecurityPolicy !== undefined &&
      /(\/|\.html|\.js)$/.test(name)
    ) {
      response.setHeader("Content-Security-Policy", this.contentSecurityPolicy);
    }
    if (request.method === "OPTIONS") {
      response.writeHead(204).end();
      return;
    }
    const fault = this.faultFor(name);
    if (fault?.kind === "missing") {
      response.writeHead(404).end();
      return;
    }
    if (fault?.kind === "unavailable") {
      response.writeHead(503).end();
      return;
    }
    if (fault?.kind === "replaced") {
      const type = fault.type ?? TYPES[path.extname(name)];
      if (type !== undefined) response.setHeader("Content-Type", type);
      response.setHeader("Content-Length", fault.body.length);
      response.end(request.method === "HEAD" ? undefined : fault.body);
      return;
    }
    const file = this.fileOf(name);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    this.send(request, response, file, fault?.kind === "truncated");
  }

  private faultFor(name: string): Fault | undefined {
    for (const { pattern, fault, seen } of this.faults) {
      if (!pattern.test(name)) continue;
      if (fault.kind !== "unavailable") return fault;
      const count = (seen.get(name) ?? 0) + 1;
      seen.set(name, count);
      if (count <= fault.times) return fault;
    }
    return undefined;
  }

  private fileOf(name: string): string | undefined {
    let best: string | undefined;
    for (const prefix of this.mounts.keys()) {
      if (name.startsWith(prefix) && prefix.length > (best?.length ?? -1)) {
        best = prefix;
      }
    }
    if (best === undefined) return undefined;
    const root = path.resolve(this.mounts.get(best) ?? "");
    let file = path.resolve(root, `./${name.slice(best.length)}`);
    if (file !== root && !file.startsWith(root + path.sep)) return undefined;
    if (existsSync(file) && statSync(file).isDirectory()) {
      file = path.join(file, "index.html");
    }
    return existsSync(file) ? file : undefined;
  }

  private send(
    request: IncomingMessage,
    response: ServerResponse,
    file: string,
    truncated: boolean,
  ): void {
    const { size } = statSync(file);
    const length = truncated ? Math.floor(size / 2) : size;
    let [begin, end] = [0, length];
    const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
    response.setHeader("Accept-Ranges", "bytes");
    response.setHeader(
      "Content-Type",
      TYPES[path.extname(file)] ?? "application/octet-stream",
    );
    if (range !== null) {
      const [, first = "", last = ""] = range;
      if (first === "") {
        begin = Math.max(0, length - Number(last));
      } else {
        begin = Number(first);
        if (last !== "") end = Math.min(length, Number(last) + 1);
      }
      if (begin >= end) {
        response.setHeader("Content-Range", `bytes */${length}`);
        response.writeHead(416).end();
        return;
      }
      response.statusCode = 206;
      response.setHeader(
        "Content-Range",
        `bytes ${begin}-${end - 1}/${length}`,
      );
    }
    response.setHeader("Content-Length", end - begin);
    if (request.method === "HEAD" || end === begin) {
      response.end();
      return;
    }
    createReadStream(file, { start: begin, end: end - 1 }).pipe(response);
  }
}
