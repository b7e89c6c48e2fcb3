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
 * @file Which device computes, in which type, and how a GPU or a model that is
 * wrong is found out: the known answer of the model file.
 *
 * SwiftShader is the only adapter here. What another would be like is put in
 * front of it, in the worker that uses it.
 */

import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import type { Page } from "@playwright/test";
import { expect, test } from "@playwright/test";
import type { SessionStats } from "../../src/tokenunify/index.js";
import type { TestServer } from "../server.js";
import { sha256, withFlippedAnswer } from "./model_file.js";
import { folder, startSite } from "./site.js";
import { ViewerPage, viewerState } from "./viewer_page.js";

/** The adapter names 16-bit floats, and the compiler behind it refuses them. */
const F16_IN_NAME = `
  const request = navigator.gpu.requestAdapter.bind(navigator.gpu);
  navigator.gpu.requestAdapter = async (options) => {
    const adapter = await request(options);
    const features = new Set([...adapter.features, "shader-f16"]);
    Object.defineProperty(adapter, "features", { value: features });
    const { requestDevice } = adapter;
    adapter.requestDevice = (descriptor) => {
      const wanted = [...(descriptor?.requiredFeatures ?? [])];
      const requiredFeatures = wanted.filter((f) => f !== "shader-f16");
      return requestDevice.call(adapter, { ...descriptor, requiredFeatures });
    };
    return adapter;
  };
`;

// A software GPU takes half a minute and more for a window.
test.describe.configure({ timeout: 900_000 });

let server: TestServer;
let manifest: { models: { voxel_nm: number[]; sha256: string }[] };
let model: Buffer;

test.beforeAll(async () => {
  server = await startSite();
  const file = path.join(folder(), "plugin-manifest/manifest.json");
  manifest = JSON.parse(readFileSync(file, "utf8")) as typeof manifest;
  model = readFileSync(path.join(folder(), "models/small.safetensors"));
});

test.afterEach(() => server.clearFaults());
test.afterAll(() => server.stop());

/** Runs a script in the segmentation worker, before anything else in it. */
function inWorker(script: string): void {
  const assets = path.join(process.env["TU_SITE_DIR"] ?? "", "assets");
  const name = readdirSync(assets).find((file) =>
    /^segmentation_worker.*\.js$/.test(file),
  );
  if (name === undefined) throw new Error("The site has no such worker.");
  const original = readFileSync(path.join(assets, name), "utf8");
  server.addFault(/\/segmentation_worker[^/]*\.js$/, {
    kind: "replaced",
    body: Buffer.from(`{${script}}\n${original}`),
  });
}

/** Serves a model whose digest and size fit the manifest. */
function serveModel(body: Buffer): void {
  server.addFault(/small\.safetensors$/, { kind: "replaced", body });
  const [entry] = manifest.models;
  const models = [{ ...entry, sha256: sha256(body), bytes: body.length }];
  server.addFault(/manifest\.json$/, {
    kind: "replaced",
    body: Buffer.from(JSON.stringify({ ...manifest, models })),
  });
}

async function open(
  page: Page,
  sourceState: Record<string, unknown>,
): Promise<ViewerPage> {
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(
    viewerState(server.origin, manifest.models[0]?.voxel_nm ?? [], {
      scale: 0.02,
      position: [16, 16, 4],
      sourceState,
    }),
  );
  return viewer;
}

/** Waits until the model runs, or cannot. */
async function decided(viewer: ViewerPage): Promise<SessionStats> {
  await expect
    .poll(async () => (await viewer.stats())[0]?.phase, { timeout: 800_000 })
    .toMatch(/ready|failed/);
  return viewer.session();
}

function needsKnownAnswer(): void {
  test.skip(
    process.env["TU_TRAIN"] === undefined,
    "TU_TRAIN does not name the tu-train binary, which makes the known answer",
  );
}

test("auto takes the CPU where the adapter is software, and says so", async ({
  page,
}) => {
  const viewer = await open(page, {});
  const { device, precision, notice, fallback, tiles } = await viewer.settled();
  expect({ device, precision }).toEqual({ device: "cpu", precision: "f32" });
  expect(tiles.inferred).toBeGreaterThan(0);
  expect(fallback).toMatch(/swiftshader is a software adapter/i);
  expect(notice?.text).toContain(fallback);
  await expect(page.locator("#tokenunify-state")).toContainText(
    `CPU, f32: ${fallback}`,
  );
});

test("a GPU asked for by name is refused with the cause when the known answer is missed", async ({
  page,
}) => {
  needsKnownAnswer();
  serveModel(withFlippedAnswer(model));
  const { phase, notice } = await decided(
    await open(page, { device: "webgpu" }),
  );
  expect(phase).toBe("failed");
  expect(notice?.text).toMatch(
    /on adapter .*known answer is missed by up to 0\./,
  );
});

test("f16 is tried where the adapter names it, and given up where its compiler refuses", async ({
  page,
}) => {
  inWorker(F16_IN_NAME);
  const viewer = await open(page, { device: "webgpu" });
  const { phase, device, precision, fallback } = await decided(viewer);
  expect({ phase, device, precision }).toEqual({
    phase: "ready",
    device: "webgpu",
    precision: "f32",
  });
  expect(fallback).toMatch(/offers f16 and does not compile it: .+/);
});
