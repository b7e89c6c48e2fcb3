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
 * @file Coarse scales made of finished tiles.
 *
 * Zoomed out, Neuroglancer asks for every tile of the finest scale that it
 * shows.  So that zooming out never starts the network, coarser scales hold
 * only what was segmented already, and 0 elsewhere.  Each voxel of a coarse
 * scale is the fine voxel at its first corner.
 */

import { ByteLru } from "./byte_lru.js";
import type { Region, TileGrid, Zyx } from "./zyx.js";
import { mapZyx, productZyx } from "./zyx.js";

/** A chunk of a coarse scale: level and grid position. */
export interface SummaryKey {
  readonly level: number;
  readonly gridZyx: Zyx;
}

/**
 * Factors of the coarse scales relative to the labels: 2, 8 and 32 in the
 * plane, and in z as many as keep the voxel no longer than it is wide.
 */
export function summaryFactors(
  volumeZyx: Zyx,
  voxelNmZyx: Zyx | undefined,
): Zyx[] {
  const ratio =
    voxelNmZyx === undefined
      ? 1
      : voxelNmZyx[0] / Math.max(voxelNmZyx[2], 1e-9);
  const factors: Zyx[] = [];
  for (const factor of [2, 8, 32]) {
    if (factor / 2 > Math.max(volumeZyx[1], volumeZyx[2])) break;
    const z = Math.max(1, 2 ** Math.floor(Math.log2(factor / ratio)));
    factors.push([Math.min(factor, z), factor, factor]);
  }
  return factors;
}

export class SummaryPyramid {
  private readonly chunks: ByteLru<BigUint64Array<ArrayBuffer>>;

  constructor(
    private readonly grid: TileGrid,
    private readonly factorsZyx: readonly Zyx[],
    capacityBytes: number,
  ) {
    this.chunks = new ByteLru(capacityBytes);
  }

  /** Extent of a coarse scale in its own voxels. */
  volumeZyx(level: number): Zyx {
    const factor = this.factor(level);
    return mapZyx((i) => Math.ceil(this.grid.volumeZyx[i] / factor[i]));
  }

  /** Labels of a chunk, clipped to the volume; zeros where nothing is known. */
  chunk({ level, gridZyx }: SummaryKey): BigUint64Array<ArrayBuffer> {
    const kept = this.chunks.get(`${level}:${gridZyx.join()}`);
    return (
      kept?.slice() ?? new BigUint64Array(this.chunkVoxels(level, gridZyx))
    );
  }

  /** Adds a tile's labels; returns the chunks that changed. */
  addTile(region: Region, labels: BigUint64Array): SummaryKey[] {
    return this.factorsZyx.flatMap((_, level) =>
      this.addToLevel(level, region, labels),
    );
  }

  private factor(level: number): Zyx {
    return this.factorsZyx[level] ?? [1, 1, 1];
  }

  private chunkShape(level: number, gridZyx: Zyx): Zyx {
    const volume = this.volumeZyx(level);
    const { tileZyx } = this.grid;
    return mapZyx((i) =>
      Math.min(tileZyx[i], volume[i] - gridZyx[i] * tileZyx[i]),
    );
  }

  private chunkVoxels(level: number, gridZyx: Zyx): number {
    return Math.max(0, productZyx(this.chunkShape(level, gridZyx)));
  }

  private addToLevel(
    level: number,
    { originZyx, shapeZyx }: Region,
    labels: BigUint64Array,
  ): SummaryKey[] {
    const factor = this.factor(level);
    const { tileZyx } = this.grid;
    // coarse voxels whose first corner lies in the tile
    const begin = mapZyx((i) => Math.ceil(originZyx[i] / factor[i]));
    const end = mapZyx((i) =>
      Math.ceil((originZyx[i] + shapeZyx[i]) / factor[i]),
    );
    if (begin.some((b, i) => b >= (end[i] ?? b))) return [];
    const changed = new Map<string, SummaryKey>();
    for (let z = begin[0]; z < end[0]; ++z) {
      for (let y = begin[1]; y < end[1]; ++y) {
        const row =
          ((z * factor[0] - originZyx[0]) * shapeZyx[1] +
            (y * factor[1] - originZyx[1])) *
            shapeZyx[2] -
          originZyx[2];
        for (let x = begin[2]; x < end[2]; ) {
          const gridZyx: Zyx = [
            Math.floor(z / tileZyx[0]),
            Math.floor(y / tileZyx[1]),
            Math.floor(x / tileZyx[2]),
          ];
          const target = this.writable(level, gridZyx, changed);
          const shape = this.chunkShape(level, gridZyx);
          const chunkX = gridZyx[2] * tileZyx[2];
          const stop = Math.min(end[2], chunkX + tileZyx[2]);
          const offset =
            ((z - gridZyx[0] * tileZyx[0]) * shape[1] +
              (y - gridZyx[1] * tileZyx[1])) *
              shape[2] -
            chunkX;
          for (; x < stop; ++x) {
            target[offset + x] = labels[row + x * factor[2]] ?? 0n;
          }
        }
      }
    }
    return [...changed.values()];
  }

  private writable(
    level: number,
    gridZyx: Zyx,
    changed: Map<string, SummaryKey>,
  ): BigUint64Array<ArrayBuffer> {
    const key = `${level}:${gridZyx.join()}`;
    let chunk = this.chunks.get(key);
    if (chunk === undefined) {
      chunk = new BigUint64Array(this.chunkVoxels(level, gridZyx));
      this.chunks.set(key, chunk, chunk.byteLength);
    }
    changed.set(key, { level, gridZyx });
    return chunk;
  }
}
