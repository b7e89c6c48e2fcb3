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
 * @file The server of the browser tests and what it serves.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { TestServer } from "../server.js";

export const folder = (): string => {
  const found = process.env["TU_FIXTURES"];
  if (found === undefined) throw new Error("The global setup has not run.");
  return found;
};

/** The site under the Content-Security-Policy that its manifest asks for. */
export async function startSite(): Promise<TestServer> {
  const site = process.env["TU_SITE_DIR"] ?? "";
  const server = await TestServer.start({
    "/": site,
    "/data/": path.join(folder(), "data"),
    "/models/": path.join(folder(), "models"),
    "/plugin-manifest/": path.join(folder(), "plugin-manifest"),
  });
  const manifest = JSON.parse(
    readFileSync(path.join(site, "plugin-manifest/manifest.json"), "utf8"),
  ) as { content_security_policy: Record<string, string[]> };
  const policy = manifest.content_security_policy;
  server.contentSecurityPolicy = Object.entries(policy)
    .map(([directive, sources]) => `${directive} ${sources.join(" ")}`)
    .join("; ");
  return server;
}
