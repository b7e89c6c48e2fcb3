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
 * @file A Neuroglancer without the plugin shows what `tu-train segment` wrote.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "@playwright/test";
import { build } from "vite";
import { neuroglancerPackage } from "../../src/tokenunify/vite_plugin.js";
import { TestServer } from "../server.js";
import { COMPARED } from "./global_setup.js";
import { readPrecomputed } from "./precomputed_files.js";
import { folder } from "./site.js";
import type { PageLayer } from "./viewer_page.js";

/** What Neuroglancer leaves in the window of its page. */
interface StockWindow {
  readonly viewer: {
    isReady(): boolean;
    readonly layerManager: {
      getLayerByName(name: string): { readonly layer: unknown } | undefined;
    };
  };
}

async function buildStockSite(outDir: string): Promise<void> {
  await build({
    configFile: false,
    root: path.resolve(import.meta.dirname, "../stock"),
    base: "",
    logLevel: "error",
    plugins: [neuroglancerPackage()],
    worker: { format: "es", plugins: () => [neuroglancerPackage()] },
    build: { target: "es2022", outDir, emptyOutDir: true, minify: false },
  });
}

test("stock Neuroglancer shows the precomputed output of tu-train segment", async ({
  page,
}, testInfo) => {
  test.skip(
    process.env["TU_TRAIN"] === undefined,
    "TU_TRAIN does not name the tu-train binary",
  );
  const { name, shapeZyx } = COMPARED.cpu;
  const site = mkdtempSync(path.join(os.tmpdir(), "tokenunify-stock-"));
  await buildStockSite(site);
  const server = await TestServer.start({
    "/": site,
    "/data/": path.join(folder(), "data"),
    "/segments/": path.join(folder(), `${name}_segments`),
  });
  const [depth, height, width] = shapeZyx;
  try {
    const { scales } = JSON.parse(
      readFileSync(path.join(folder(), `${name}_segments/info`), "utf8"),
    ) as { scales: { resolution: [x: number, y: number, z: number] }[] };
    const [nmX = 1, nmY = 1, nmZ = 1] = scales[0]?.resolution ?? [];
    const state = {
      dimensions: {
        x: [nmX * 1e-9, "m"],
        y: [nmY * 1e-9, "m"],
        z: [nmZ * 1e-9, "m"],
      },
      position: [width / 2, height / 2, depth / 2],
      // The page is larger than the volume.
      crossSectionScale: 0.15,
      showAxisLines: false,
      layout: "xy",
      layers: [
        {
          type: "image",
          name: "EM",
          source: `${server.origin}/data/${name}.zarr/raw/|zarr3:`,
        },
        {
          type: "segmentation",
          name: "segments",
          source: `precomputed://${server.origin}/segments`,
        },
      ],
    };
    const hash = encodeURIComponent(JSON.stringify(state));
    await page.goto(`${server.origin}/#!${hash}`);
    await page.waitForFunction(
      () =>
        (globalThis as unknown as StockWindow).viewer.isReady() &&
        (
          globalThis as unknown as StockWindow
        ).viewer.layerManager.getLayerByName("segments")?.layer !== undefined,
    );
    const found = await page.evaluate(
      async ([dz = 0, dy = 0, dx = 0]) => {
        const { viewer } = globalThis as unknown as StockWindow;
        const layer = viewer.layerManager.getLayerByName("segments")
          ?.layer as PageLayer;
        const source = layer.renderLayers
          .find((r) => r.multiscaleSource !== undefined)
          ?.multiscaleSource?.getSources({
            displayRank: 3,
            multiscaleToViewTransform: Float32Array.of(
              1,
              0,
              0,
              0,
              1,
              0,
              0,
              0,
              1,
            ),
            modelChannelDimensionIndices: [],
          })[0]?.[0]?.chunkSource;
        if (source === undefined) throw new Error("no label source");
        // Chunks in order x, y, z; all have the size of the first but the last.
        const labels = new Array<string>(dz * dy * dx).fill("");
        const sizes = await source.fetchChunk(
          Float32Array.of(0, 0, 0),
          (chunk) => Array.from(chunk.chunkDataSize),
          {},
        );
        const [cx = 1, cy = 1, cz = 1] = sizes;
        for (let z = 0; z * cz < dz; ++z) {
          for (let y = 0; y * cy < dy; ++y) {
            for (let x = 0; x * cx < dx; ++x) {
              await source.fetchChunk(
                Float32Array.of(x, y, z),
                (chunk) => {
                  const [nx = 0, ny = 0, nz = 0] = chunk.chunkDataSize;
                  const p = new Uint32Array(3);
                  for (p[2] = 0; p[2] < nz; ++p[2]) {
                    for (p[1] = 0; p[1] < ny; ++p[1]) {
                      for (p[0] = 0; p[0] < nx; ++p[0]) {
                        labels[
                          ((z * cz + p[2]) * dy + y * cy + p[1]) * dx +
                            x * cx +
                            p[0]
                        ] = chunk.getValueAt(p).toString();
                      }
                    }
                  }
                },
                {},
              );
            }
          }
        }
        source.dispose();
        return labels;
      },
      [...shapeZyx],
    );
    const expected = readPrecomputed(path.join(folder(), `${name}_segments`));
    expect(expected.shapeZyx).toEqual([...shapeZyx]);
    expect(found).toEqual(Array.from(expected.values, String));
    const picture = testInfo.outputPath("stock_neuroglancer.png");
    await page.screenshot({ path: picture });
    await testInfo.attach("stock Neuroglancer", { path: picture });
  } finally {
    await server.stop();
    rmSync(site, { recursive: true, force: true });
  }
});
