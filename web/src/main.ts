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
 * @file The demo site: Neuroglancer with our data source.
 *
 * Opened without a state, it shows the volume that the server offers in
 * `demo.json`, if there is one.
 */

import "neuroglancer";
import "./main.css";
import { setupDefaultViewer } from "neuroglancer/unstable/ui/default_viewer_setup.js";
import { StatusMessage } from "neuroglancer/unstable/status.js";
import type { Viewer } from "neuroglancer/unstable/viewer.js";
import { demoState, parseDemo } from "./demo_state.js";
import type { SessionStats } from "./tokenunify/index.js";
import { sessionStats } from "./tokenunify/index.js";
import { deviceText, tilesText } from "./tokenunify/status.js";

/** Read-only access for tests and reports of problems. */
export interface TokenUnifyHook {
  readonly viewer: Viewer;
  stats(): SessionStats[];
}

declare global {
  interface Window {
    tokenunify: TokenUnifyHook;
  }
}

const STATE_INTERVAL_MS = 500;

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element #${id}.`);
  return found;
}

async function loadDemo(viewer: Viewer): Promise<void> {
  const url = new URL("demo.json", document.baseURI);
  const response = await fetch(url, { cache: "no-cache" });
  // No demo, or a server that answers every path with the page.
  if (
    !response.ok ||
    !(response.headers.get("content-type") ?? "").includes("json")
  ) {
    return;
  }
  const demo = parseDemo(await response.json());
  viewer.state.restoreState(demoState(demo, url));
  if (demo.title !== undefined) {
    element("tokenunify-title").textContent = demo.title;
    element("tokenunify-summary").textContent =
      "Neurons are segmented in this browser as you look at them. Nothing is uploaded.";
  }
}

function showState(): void {
  element("tokenunify-state").textContent = sessionStats()
    .map((stats) => `${deviceText(stats)} · ${tilesText(stats)}`)
    .join(" | ");
}

const viewer = setupDefaultViewer({
  target: element("neuroglancer-container"),
});
window.tokenunify = Object.freeze({ viewer, stats: sessionStats });
setInterval(showState, STATE_INTERVAL_MS);

const { hash } = window.location;
if (hash === "" || hash === "#") {
  loadDemo(viewer).catch((error: unknown) => {
    StatusMessage.showTemporaryMessage(
      `The demo cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
      10_000,
    );
  });
}
