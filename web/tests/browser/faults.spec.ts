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
 * @file What happens when something is missing, broken or forged: a message,
 * and a viewer that goes on.
 */

import { chromium, expect, test } from "@playwright/test";
import type { TestServer } from "../server.js";
import { launchOptions } from "./launch.js";
import { startSite } from "./site.js";
import { ViewerPage, viewerState } from "./viewer_page.js";

let server: TestServer;
let voxelNm: readonly number[];

test.beforeAll(async () => {
  server = await startSite();
  const manifest = (await (
    await fetch(`${server.origin}/plugin-manifest/manifest.json`)
  ).json()) as { models: { voxel_nm: number[] }[] };
  voxelNm = manifest.models[0]?.voxel_nm ?? [];
});

test.afterEach(() => server.clearFaults());
test.afterAll(() => server.stop());

test("without WebGPU the CPU segments, and a message says so", async () => {
  const browser = await chromium.launch(launchOptions(false));
  try {
    const page = await browser.newPage({
      viewport: { width: 600, height: 400 },
    });
    const viewer = new ViewerPage(page, server.origin);
    await viewer.open(
      viewerState(server.origin, voxelNm, { scale: 0.05, sourceState: {} }),
    );
    const { device, notice, tiles } = await viewer.settled();
    expect(device).toBe("cpu");
    expect(notice?.severity).toBe("warning");
    expect(notice?.text).toMatch(/WebGPU is not available.*CPU/);
    expect(tiles.done).toBeGreaterThan(0);
    await expect(page.locator("#tokenunify-state")).toContainText("CPU");
  } finally {
    await browser.close();
  }
});

test("asked for WebGPU alone, a browser without it says that nothing can run", async () => {
  const browser = await chromium.launch(launchOptions(false));
  try {
    const page = await browser.newPage();
    const viewer = new ViewerPage(page, server.origin);
    await viewer.open(
      viewerState(server.origin, voxelNm, {
        sourceState: { device: "webgpu" },
      }),
    );
    await expect
      .poll(async () => (await viewer.stats())[0]?.phase)
      .toBe("failed");
    const { notice } = await viewer.session();
    expect(notice?.severity).toBe("error");
    expect(notice?.text).toMatch(/No device can run the network/);
    await expect.poll(() => viewer.showsImage()).toBe(true);
  } finally {
    await browser.close();
  }
});

test("a forged model is refused by its digest, the viewer goes on, and a retry works", async ({
  page,
}) => {
  const original = Buffer.from(
    await (
      await fetch(`${server.origin}/models/small.safetensors`)
    ).arrayBuffer(),
  );
  const forged = Buffer.from(original);
  forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
  server.addFault(/small\.safetensors$/, { kind: "replaced", body: forged });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm));
  await expect
    .poll(async () => (await viewer.stats())[0]?.phase)
    .toBe("failed");
  const { notice } = await viewer.session();
  expect(notice?.text).toMatch(/SHA-256 digest .* instead of .*do not use it/);
  await expect(page.getByText(/TokenUnify: Model .*SHA-256/)).toBeVisible();
  await expect.poll(() => viewer.showsImage()).toBe(true);
  await page.screenshot({ path: "test-results/forged_model.png" });

  server.clearFaults();
  await page.getByRole("button", { name: "Retry failed tiles" }).click();
  const { tiles } = await viewer.settled();
  expect(tiles.inferred).toBeGreaterThan(0);
});

test("a truncated model is refused by its size", async ({ page }) => {
  server.addFault(/small\.safetensors$/, { kind: "truncated" });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm));
  await expect
    .poll(async () => (await viewer.stats())[0]?.phase)
    .toBe("failed");
  expect((await viewer.session()).notice?.text).toMatch(/bytes instead of/);
});

test("a missing plugin manifest is named where the layer's source is shown", async ({
  page,
}) => {
  server.addFault(/manifest\.json$/, { kind: "missing" });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm, { tab: "source" }));
  await expect(page.getByText(/manifest\.json answered 404/)).toBeVisible();
  await expect.poll(() => viewer.showsImage()).toBe(true);
});

test("an unreachable host is an error of the layer alone", async ({ page }) => {
  const viewer = new ViewerPage(page, server.origin);
  const state = viewerState(server.origin, voxelNm, { tab: "source" }) as {
    layers: { name: string; source: unknown }[];
  };
  const layer = state.layers.find(({ name }) => name === "neurons");
  if (layer !== undefined) {
    layer.source = "http://127.0.0.1:9/volume.zarr/|zarr3:|tokenunify:";
  }
  await viewer.open(state as unknown as Record<string, unknown>);
  await expect
    .poll(() =>
      page.evaluate(() => {
        const { viewer } = globalThis.tokenunify;
        const managed = viewer.layerManager.getLayerByName("neurons");
        const [source] = (
          managed?.layer as unknown as {
            dataSources: { loadState?: { error?: Error } }[];
          }
        ).dataSources;
        return source?.loadState?.error?.message ?? "";
      }),
    )
    .not.toBe("");
  await expect.poll(() => viewer.showsImage()).toBe(true);
  expect(await viewer.stats()).toEqual([]);
});

test("labels in place of EM are refused with a message", async ({ page }) => {
  server.addFault(/volume\.zarr\/raw\/([^/]+\/)?zarr\.json$/, {
    kind: "replaced",
    type: "application/json",
    body: Buffer.from(
      JSON.stringify({
        zarr_format: 3,
        node_type: "array",
        shape: [16, 16, 16],
        data_type: "uint64",
        chunk_grid: {
          name: "regular",
          configuration: { chunk_shape: [16, 16, 16] },
        },
        chunk_key_encoding: {
          name: "default",
          configuration: { separator: "/" },
        },
        fill_value: 0,
        codecs: [{ name: "bytes", configuration: { endian: "little" } }],
        dimension_names: ["z", "y", "x"],
        attributes: {},
      }),
    ),
  });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm, { tab: "source" }));
  await expect(
    page.getByText(/label volume where an EM image/).first(),
  ).toBeVisible();
});

test("a store that answers 503 for a while is asked again", async ({
  page,
}) => {
  server.addFault(/\/c\/0\/[0-9]+\/[0-9]+$/, { kind: "unavailable", times: 2 });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm, { image: false }));
  const { tiles } = await viewer.settled();
  expect(tiles.failed).toBe(0);
  expect(tiles.inferred).toBeGreaterThan(0);
});

test("where the store has no data nothing is invented", async ({ page }) => {
  server.addFault(/\/c\/[0-9]+\/[0-9]+\/[0-9]+$/, { kind: "missing" });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm, { image: false }));
  const { tiles } = await viewer.settled();
  expect(tiles.inferred).toBe(0);
  expect(tiles.empty).toBe(tiles.done);
});

test("a truncated chunk fails its tiles with a message and can be retried", async ({
  page,
}) => {
  server.addFault(/\/c\/[0-9]+\/[0-9]+\/[0-9]+$/, { kind: "truncated" });
  const viewer = new ViewerPage(page, server.origin);
  await viewer.open(viewerState(server.origin, voxelNm, { image: false }));
  const failed = await viewer.settled();
  expect(failed.tiles.failed).toBeGreaterThan(0);
  expect(failed.notice?.severity).toBe("error");
  server.clearFaults();
  await page.getByRole("button", { name: "Retry failed tiles" }).click();
  await expect
    .poll(async () => (await viewer.session()).tiles.inferred, {
      timeout: 240_000,
    })
    .toBeGreaterThan(0);
});
