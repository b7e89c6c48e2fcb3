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
 * @file The browser computes what `tu-train segment` computes.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "@playwright/test";
import { COMPARED } from "./global_setup.js";
import { adaptedRandError } from "./rand_error.js";
import { readPrecomputed } from "./precomputed_files.js";
import { folder, startSite } from "./site.js";
import { ViewerPage, viewerState } from "./viewer_page.js";

const MAX_ARAND = 0.002;

for (const device of ["webgpu", "cpu"] as const) {
  const { name, shapeZyx } = COMPARED[device];
  test(`segments on ${device} have the ids of tu-train segment`, async ({
    page,
  }) => {
    test.skip(
      process.env["TU_TRAIN"] === undefined,
      "TU_TRAIN does not name the tu-train binary",
    );
    test.setTimeout(900_000);
    const server = await startSite();
    try {
      const viewer = new ViewerPage(page, server.origin);
      const manifest = JSON.parse(
        readFileSync(
          path.join(folder(), "plugin-manifest/manifest.json"),
          "utf8",
        ),
      ) as { models: { voxel_nm: number[] }[] };
      await viewer.open(
        viewerState(server.origin, manifest.models[0]?.voxel_nm ?? [], {
          volume: name,
          position: [shapeZyx[2] / 2, shapeZyx[1] / 2, 4],
          sourceState: { device },
        }),
      );
      await viewer.settled(800_000);
      const labels = await viewer.readLabels(shapeZyx);
      const session = await viewer.session();
      expect(session.device).toBe(device);
      for (const kind of ["fragments", "segments"] as const) {
        const expected = readPrecomputed(
          path.join(folder(), `${name}_${kind}`),
        );
        expect(expected.shapeZyx).toEqual([...shapeZyx]);
        const found = labels[kind];
        let different = 0;
        found.forEach((id, i) => {
          if (id !== expected.values[i]) ++different;
        });
        const error = adaptedRandError(found, expected.values);
        console.log(
          `${device}, ${kind}: ${different} of ${found.length} voxels differ, ` +
            `ARAND ${error.toFixed(6)}, ${new Set(expected.values).size} ids`,
        );
        expect(error).toBeLessThanOrEqual(MAX_ARAND);
      }
    } finally {
      await server.stop();
    }
  });
}
