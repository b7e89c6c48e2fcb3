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

import { describe, expect, it } from "vitest";
import {
  summaryFactors,
  SummaryPyramid,
} from "../../src/tokenunify/summary_pyramid.js";
import { tileRegion } from "../../src/tokenunify/zyx.js";
import type { Zyx } from "../../src/tokenunify/zyx.js";

const GRID = {
  volumeZyx: [13, 50, 37] as Zyx,
  tileZyx: [4, 16, 8] as Zyx,
  haloZyx: [1, 2, 2] as Zyx,
};
const FACTORS: Zyx[] = [
  [1, 2, 2],
  [3, 5, 4],
];

/** The label of a voxel: its place in the volume, as fragment ids are. */
const labelAt = (z: number, y: number, x: number): bigint =>
  1n + BigInt((z * GRID.volumeZyx[1] + y) * GRID.volumeZyx[2] + x);

function addTile(pyramid: SummaryPyramid, indexZyx: Zyx) {
  const region = tileRegion(GRID, indexZyx);
  const [dz, dy, dx] = region.shapeZyx;
  const labels = new BigUint64Array(dz * dy * dx);
  labels.forEach((_, i) => {
    const [z, y, x] = [
      Math.floor(i / (dy * dx)),
      Math.floor(i / dx) % dy,
      i % dx,
    ];
    labels[i] = labelAt(
      region.originZyx[0] + z,
      region.originZyx[1] + y,
      region.originZyx[2] + x,
    );
  });
  return pyramid.addTile(region, labels);
}

function* tiles(): Generator<Zyx> {
  for (let z = 0; z * 4 < 13; ++z) {
    for (let y = 0; y * 16 < 50; ++y) {
      for (let x = 0; x * 8 < 37; ++x) yield [z, y, x];
    }
  }
}

describe("SummaryPyramid", () => {
  it("holds every n-th voxel of the finished tiles, in any order", () => {
    const pyramid = new SummaryPyramid(GRID, FACTORS, 2 ** 24);
    for (const index of [...tiles()].reverse()) addTile(pyramid, index);
    FACTORS.forEach((factor, level) => {
      const volume = pyramid.volumeZyx(level);
      expect(volume).toEqual(
        GRID.volumeZyx.map((n, i) => Math.ceil(n / factor[i]!)),
      );
      for (let z = 0; z < volume[0]; ++z) {
        for (let y = 0; y < volume[1]; ++y) {
          for (let x = 0; x < volume[2]; ++x) {
            const gridZyx: Zyx = [
              Math.floor(z / 4),
              Math.floor(y / 16),
              Math.floor(x / 8),
            ];
            const height = Math.min(16, volume[1] - gridZyx[1] * 16);
            const width = Math.min(8, volume[2] - gridZyx[2] * 8);
            const offset =
              ((z - gridZyx[0] * 4) * height + (y - gridZyx[1] * 16)) * width +
              (x - gridZyx[2] * 8);
            expect(pyramid.chunk({ level, gridZyx })[offset]).toBe(
              labelAt(z * factor[0], y * factor[1], x * factor[2]),
            );
          }
        }
      }
    });
  });

  it("is zero where no tile is finished", () => {
    const pyramid = new SummaryPyramid(GRID, FACTORS, 2 ** 24);
    const chunk = pyramid.chunk({ level: 0, gridZyx: [0, 0, 0] });
    expect(chunk.length).toBe(4 * 16 * 8);
    expect(chunk.every((label) => label === 0n)).toBe(true);
  });

  it("names the chunks that a tile changes", () => {
    const pyramid = new SummaryPyramid(GRID, FACTORS, 2 ** 24);
    expect(addTile(pyramid, [1, 2, 2])).toEqual([
      { level: 0, gridZyx: [1, 1, 1] },
      { level: 1, gridZyx: [0, 0, 0] },
    ]);
  });

  it("a chunk that is handed out is not the one that is kept", () => {
    const pyramid = new SummaryPyramid(GRID, FACTORS, 2 ** 24);
    addTile(pyramid, [0, 0, 0]);
    pyramid.chunk({ level: 0, gridZyx: [0, 0, 0] }).fill(0n);
    expect(pyramid.chunk({ level: 0, gridZyx: [0, 0, 0] })[0]).toBe(1n);
  });
});

describe("summaryFactors", () => {
  it("keeps voxels from getting longer than wide", () => {
    expect(summaryFactors([64, 4096, 4096], [30, 8, 8])).toEqual([
      [1, 2, 2],
      [2, 8, 8],
      [8, 32, 32],
    ]);
    expect(summaryFactors([512, 512, 512], undefined)).toEqual([
      [2, 2, 2],
      [8, 8, 8],
      [32, 32, 32],
    ]);
  });

  it("stops where one voxel is more than the volume", () => {
    expect(summaryFactors([4, 3, 3], undefined)).toEqual([[2, 2, 2]]);
  });
});
