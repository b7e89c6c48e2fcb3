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
 * @file What a person does: adds the layer, looks around, moves the slider,
 * shares the link.
 */

import type { Page } from "@playwright/test";
import { expect, test } from "@playwright/test";
import type { TestServer } from "../server.js";
import { VOLUME_ZYX } from "./global_setup.js";
import { startSite } from "./site.js";
import type { PageLayer } from "./viewer_page.js";
import {
  TILE_ZYX,
  ViewerPage,
  viewerState,
  visibleTiles,
  volumeUrl,
} from "./viewer_page.js";

test.describe.configure({ mode: "serial" });

/** Voxels per pixel: the panel shows less than three tiles in a row. */
const SCALE = 0.06;
/** For the test of colours: a few tile borders are in view. */
const WIDE_SCALE = 0.1;

let server: TestServer;
let page: Page;
let viewer: ViewerPage;
let voxelNm: readonly number[];

test.beforeAll(async ({ browser }) => {
  server = await startSite();
  page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
  viewer = new ViewerPage(page, server.origin);
  const manifest = (await (
    await fetch(`${server.origin}/plugin-manifest/manifest.json`)
  ).json()) as { models: { voxel_nm: number[] }[] };
  voxelNm = manifest.models[0]?.voxel_nm ?? [];
});

test.afterAll(async () => {
  await page.close();
  await server.stop();
});

/** Size of the cross-section panel in pixels. */
async function panelSize(): Promise<{ width: number; height: number }> {
  const box = await page
    .locator(".neuroglancer-rendered-data-panel")
    .first()
    .boundingBox();
  return box ?? { width: 0, height: 0 };
}

test("a URL typed into the layer source box becomes a segmentation layer", async () => {
  await viewer.open(
    viewerState(server.origin, voxelNm, { segmentation: false }),
  );
  await page.locator(".neuroglancer-layer-add-button").click();
  const input = page.locator(
    ".neuroglancer-layer-data-source-url-input .neuroglancer-multiline-autocomplete-input",
  );
  // An empty box has no width, so it cannot be clicked; it has the focus.
  await input.focus();
  const url = `${volumeUrl(server.origin)}|tokenunify:`;
  await page.keyboard.type(url.slice(0, -"enunify:".length));
  await expect(
    page
      .locator(".neuroglancer-multiline-autocomplete-completion")
      .filter({ hasText: "tokenunify:" })
      .first(),
  ).toBeVisible();
  await page.keyboard.type("enunify:");
  const tab = page.locator(".neuroglancer-layer-data-sources-tab");
  const create = tab
    .locator(".neuroglancer-layer-data-sources-tab-type-detection")
    .filter({ hasText: "Create as segmentation layer" });
  // Return commits the source, takes the completion that is offered at that
  // moment, or creates the layer; as a person would, press it until it is there.
  await expect(async () => {
    if (await create.isVisible()) await create.click({ timeout: 5_000 });
    else if (await input.isVisible()) await input.press("Enter");
    const { layers } = (await viewer.stateJson()) as {
      layers: { type: string; source: unknown }[];
    };
    const shown = await tab.allInnerTexts();
    expect({ layer: layers.at(-1), shown }).toMatchObject({
      layer: { type: "segmentation", source: url },
    });
  }).toPass({ timeout: 120_000, intervals: [2_000] });
  await expect.poll(async () => (await viewer.stats()).length).toBe(1);
});

test("a page without a state shows what the server offers", async () => {
  server.addFault(/^\/demo\.json$/, {
    kind: "replaced",
    body: Buffer.from(
      JSON.stringify({
        volume_url: "/data/volume.zarr/raw/|zarr3:",
        title: "Synthetic EM",
        position: [16, 16, 4],
        dimensions: { x: [1e-8, "m"], y: [1e-8, "m"], z: [1e-8, "m"] },
        crossSectionScale: 0.02,
      }),
    ),
  });
  await page.goto("about:blank");
  await page.goto(`${server.origin}/`);
  await expect(page.locator("#tokenunify-title")).toHaveText("Synthetic EM");
  await expect.poll(async () => (await viewer.stats()).length).toBe(1);
  expect(await viewer.stateJson()).toMatchObject({
    layers: [
      { type: "image", source: volumeUrl(server.origin) },
      {
        type: "segmentation",
        source: `${volumeUrl(server.origin)}|tokenunify:`,
      },
    ],
  });
  server.clearFaults();
});

test("tiles are computed only where the view is", async () => {
  await viewer.open(viewerState(server.origin, voxelNm));
  const { tiles, recentTiles, device } = await viewer.settled();
  const seen = visibleTiles([96, 80], SCALE, await panelSize(), VOLUME_ZYX);
  const computed = new Set(recentTiles.map(([, y, x]) => `${y},${x}`));
  console.log(`device ${device}, tiles ${[...computed].join(" ")}`);
  expect([...computed].sort()).toEqual([...seen].sort());
  expect(recentTiles.every(([z]) => z === 0)).toBe(true);
  expect(tiles.inferred).toBe(seen.size);
  expect(tiles.failed).toBe(0);
  await page.screenshot({ path: "test-results/one_view.png" });
});

test("panning by several tiles computes the new ones and no other", async () => {
  const before = await viewer.session();
  for (const x of [64, 32]) {
    await viewer.moveTo(x, 48, 4);
    await viewer.settled();
  }
  const { tiles, recentTiles } = await viewer.session();
  const panel = await panelSize();
  const expected = new Set([
    ...visibleTiles([96, 80], SCALE, panel, VOLUME_ZYX),
    ...visibleTiles([64, 48], SCALE, panel, VOLUME_ZYX),
    ...visibleTiles([32, 48], SCALE, panel, VOLUME_ZYX),
  ]);
  const computed = new Set(recentTiles.map(([, y, x]) => `${y},${x}`));
  expect([...computed].sort()).toEqual([...expected].sort());
  expect(tiles.inferred).toBe(expected.size);
  expect(tiles.inferred).toBeGreaterThan(before.tiles.inferred);
});

test("one neuron that crosses a tile border has one colour", async () => {
  await viewer.zoomTo(WIDE_SCALE);
  await viewer.moveTo(96, 80, 4);
  await viewer.settled();
  expect(await viewer.segmentsSettled()).toBeGreaterThan(0);
  const seen = visibleTiles(
    [96, 80],
    WIDE_SCALE,
    await panelSize(),
    VOLUME_ZYX,
  );
  const { segments, fragments } = await viewer.readLabels(
    VOLUME_ZYX,
    [...seen].map((yx) => `0,${yx}`),
  );
  const at = (y: number, x: number): number =>
    (4 * VOLUME_ZYX[1] + y) * VOLUME_ZYX[2] + x;
  /** The voxels around are of one segment, so a pixel off does not matter. */
  const isInside = (y: number, x: number): boolean => {
    const segment = segments[at(y, x)];
    for (let dy = -2; dy <= 2; ++dy) {
      for (let dx = -3; dx <= 2; ++dx) {
        if (segments[at(y + dy, x + dx)] !== segment) return false;
      }
    }
    return segment !== 0n;
  };
  // Neighbours across the border between tile columns, in the plane shown.
  const crossings: { y: number; x: number }[] = [];
  for (let y = 56; y < 104; ++y) {
    for (let x = 2 * TILE_ZYX[2]; x < 4 * TILE_ZYX[2]; x += TILE_ZYX[2]) {
      if (isInside(y, x) && fragments[at(y, x - 1)] !== fragments[at(y, x)]) {
        crossings.push({ y, x });
      }
    }
  }
  expect(crossings.length).toBeGreaterThan(0);

  // Both sides have the same colour on the screen; EM is hidden for that.
  await page.evaluate(() => {
    const { viewer } = globalThis.tokenunify;
    viewer.layerManager.getLayerByName("EM")?.setVisible(false);
  });
  await page.waitForTimeout(1000);
  const shot = (await page.screenshot()).toString("base64");
  const box = await page
    .locator(".neuroglancer-rendered-data-panel")
    .first()
    .boundingBox();
  const centre = {
    x: (box?.x ?? 0) + (box?.width ?? 0) / 2,
    y: (box?.y ?? 0) + (box?.height ?? 0) / 2,
  };
  const points = crossings.map(({ y, x }) =>
    [x - 0.5, x + 0.5].map((voxelX) => ({
      x: Math.round(centre.x + (voxelX - 96) / WIDE_SCALE),
      y: Math.round(centre.y + (y + 0.5 - 80) / WIDE_SCALE),
    })),
  );
  const colours = await page.evaluate(
    async ({ shot, points }) => {
      const image = new Image();
      image.src = `data:image/png;base64,${shot}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d")!;
      context.drawImage(image, 0, 0);
      return points.map((pair) =>
        pair.map(({ x, y }) =>
          Array.from(context.getImageData(x, y, 1, 1).data).join(),
        ),
      );
    },
    { shot, points },
  );
  for (const [left, right] of colours) expect(left).toBe(right);
  await page.evaluate(() => {
    const { viewer } = globalThis.tokenunify;
    viewer.layerManager.getLayerByName("EM")?.setVisible(true);
  });
});

test("a new threshold joins differently without new inference", async () => {
  const before = (await viewer.session()).tiles.inferred;
  const merges = await viewer.segmentsSettled();
  await page.getByText("Render", { exact: true }).click();
  const slider = page
    .locator("label, .neuroglancer-layer-control-container")
    .filter({ hasText: "Merge threshold" })
    .locator("input[type=number]")
    .first();
  await slider.fill("0");
  await slider.press("Enter");
  await expect.poll(() => viewer.automaticMerges()).toBe(0);
  await slider.fill("1");
  await slider.press("Enter");
  await expect
    .poll(() => viewer.automaticMerges())
    .toBeGreaterThanOrEqual(merges);
  expect((await viewer.session()).tiles.inferred).toBe(before);
  expect(await viewer.sourceState()).toEqual({ device: "cpu", threshold: 1 });
});

test("zooming out starts no inference and shows what is done", async () => {
  const before = (await viewer.session()).tiles.inferred;
  await viewer.zoomTo(3);
  await page.waitForTimeout(3000);
  const after = await viewer.settled();
  expect(after.tiles.inferred).toBe(before);
  await page.screenshot({ path: "test-results/zoomed_out.png" });
  await viewer.zoomTo(WIDE_SCALE);
  await viewer.settled();
});

test("merges and splits are undoable, saved and restored with the link", async ({
  browser,
}) => {
  const edit = await page.evaluate(async () => {
    const { viewer } = globalThis.tokenunify;
    const layer = viewer.layerManager.getLayerByName("neurons")
      ?.layer as unknown as PageLayer;
    const { graph } = layer.displayState.segmentationGroupState.value;
    // Ids that no tile has: edits do not depend on what is on the screen.
    const root = await graph.value.merge(4000000000001n, 4000000000000n);
    return root.toString();
  });
  expect(edit).toBe("4000000000000");
  await page.getByText("Graph", { exact: true }).click();
  const undo = page.getByRole("button", { name: "Undo last edit" });
  await expect(undo).toBeEnabled();
  const saved = await viewer.stateJson();
  expect(await viewer.sourceState()).toEqual({
    device: "cpu",
    threshold: 1,
    merges: [["4000000000001", "4000000000000"]],
  });
  await undo.click();
  expect(await viewer.sourceState()).toEqual({ device: "cpu", threshold: 1 });

  const other = new ViewerPage(await browser.newPage(), server.origin);
  await other.open(saved);
  await other.settled();
  expect(await other.sourceState()).toEqual({
    device: "cpu",
    threshold: 1,
    merges: [["4000000000001", "4000000000000"]],
  });
  expect(
    await other.page.evaluate(() => {
      const { viewer } = globalThis.tokenunify;
      const layer = viewer.layerManager.getLayerByName("neurons")
        ?.layer as unknown as PageLayer;
      const { segmentEquivalences } =
        layer.displayState.segmentationGroupState.value;
      return segmentEquivalences.get(4000000000001n).toString();
    }),
  ).toBe("4000000000000");
  await other.page.close();
});

test("a split of two joined fragments holds, and they are joined again by a merge", async () => {
  const result = await page.evaluate(async () => {
    const { viewer } = globalThis.tokenunify;
    const layer = viewer.layerManager.getLayerByName("neurons")
      ?.layer as unknown as PageLayer;
    const { graph, segmentEquivalences } =
      layer.displayState.segmentationGroupState.value;
    const sets = (
      segmentEquivalences as unknown as {
        disjointSets: { mappings(): Iterable<[bigint, bigint]> };
      }
    ).disjointSets;
    const pair = [...sets.mappings()].find(([id, root]) => id !== root);
    if (pair === undefined) return undefined;
    const [a, b] = pair;
    await graph.value.split(a, b);
    const apart = segmentEquivalences.get(a) !== segmentEquivalences.get(b);
    await graph.value.merge(a, b);
    const joined = segmentEquivalences.get(a) === segmentEquivalences.get(b);
    return { apart, joined };
  });
  expect(result).toEqual({ apart: true, joined: true });
});

test("tiles that are scrolled away give way to what is on the screen", async () => {
  const { aborted } = (await viewer.session()).tiles;
  // A fresh session, for everything here is computed.
  await viewer.open(
    viewerState(server.origin, voxelNm, { position: [16, 16, 12] }),
  );
  await expect.poll(async () => (await viewer.stats())[0]?.phase).toBe("ready");
  for (let jump = 0; jump < 12; ++jump) {
    const far = jump % 2 === 0;
    await viewer.moveTo(far ? 176 : 16, far ? 144 : 16 + 8 * jump, 12);
    // Long enough to be asked for, and far too short for a tile.
    await page.waitForTimeout(100);
  }
  const { tiles } = await viewer.settled();
  console.log(`aborted before ${aborted}, now ${JSON.stringify(tiles)}`);
  expect(tiles.aborted).toBeGreaterThan(0);
  expect(tiles.failed).toBe(0);
  expect(tiles.maxRunning).toBe(2);
});

test("nothing was refused by the Content-Security-Policy, and no script failed", () => {
  expect(viewer.errors).toEqual([]);
});
