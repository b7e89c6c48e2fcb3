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
 * @file Reads a Neuroglancer precomputed volume of u64 labels from disk (one
 * scale, encoding "raw", not sharded).
 */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

interface Info {
  readonly data_type: string;
  readonly scales: readonly {
    readonly key: string;
    readonly encoding: string;
    readonly size: [x: number, y: number, z: number];
    readonly voxel_offset?: readonly number[];
    readonly chunk_sizes: readonly [[x: number, y: number, z: number]];
  }[];
}

/** @returns values in C order zyx; chunks that are absent are zero */
export function readPrecomputed(folder: string): {
  shapeZyx: number[];
  values: BigUint64Array;
} {
  const info = JSON.parse(
    readFileSync(path.join(folder, "info"), "utf8"),
  ) as Info;
  const [scale] = info.scales;
  if (
    scale === undefined ||
    scale.encoding !== "raw" ||
    info.data_type !== "uint64"
  ) {
    throw new Error(`${folder} is not a raw u64 volume`);
  }
  const [width, height, depth] = scale.size;
  const [cx, cy, cz] = scale.chunk_sizes[0];
  const [ox = 0, oy = 0, oz = 0] = scale.voxel_offset ?? [];
  const values = new BigUint64Array(width * height * depth);
  for (let z = 0; z < depth; z += cz) {
    for (let y = 0; y < height; y += cy) {
      for (let x = 0; x < width; x += cx) {
        const end = [
          Math.min(x + cx, width),
          Math.min(y + cy, height),
          Math.min(z + cz, depth),
        ] as const;
        const name = `${x + ox}-${end[0] + ox}_${y + oy}-${end[1] + oy}_${z + oz}-${end[2] + oz}`;
        const file = path.join(folder, scale.key, name);
        if (!existsSync(file)) continue;
        const bytes = Uint8Array.from(readFileSync(file));
        const chunk = new BigUint64Array(bytes.buffer);
        let i = 0;
        for (let zz = z; zz < end[2]; ++zz) {
          for (let yy = y; yy < end[1]; ++yy) {
            for (let xx = x; xx < end[0]; ++xx) {
              values[(zz * height + yy) * width + xx] = chunk[i++] ?? 0n;
            }
          }
        }
      }
    }
  }
  return { shapeZyx: [depth, height, width], values };
}
