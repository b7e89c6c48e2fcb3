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
 * @file Triples in axis order z, y, x, and the arithmetic of the tile grid.
 *
 * The grid is anchored at the volume's first voxel.  Tile i covers
 * `[i·tile, min((i+1)·tile, volume))`; the network sees a window that is wider
 * by the halo on each side, of which the part inside the volume is read.  The
 * same rule is implemented by `tu_segment::TileGrid`.
 */

export type Zyx = readonly [z: number, y: number, x: number];

export function mapZyx(f: (axis: 0 | 1 | 2) => number): Zyx {
  return [f(0), f(1), f(2)];
}

export function productZyx(a: Zyx): number {
  return a[0] * a[1] * a[2];
}

/** A box of voxels: first voxel and extent. */
export interface Region {
  readonly originZyx: Zyx;
  readonly shapeZyx: Zyx;
}

export interface TileGrid {
  readonly volumeZyx: Zyx;
  readonly tileZyx: Zyx;
  readonly haloZyx: Zyx;
}

/** The voxels that a tile labels. */
export function tileRegion(grid: TileGrid, indexZyx: Zyx): Region {
  const originZyx = mapZyx((i) => indexZyx[i] * grid.tileZyx[i]);
  return {
    originZyx,
    shapeZyx: mapZyx((i) =>
      Math.min(grid.tileZyx[i], grid.volumeZyx[i] - originZyx[i]),
    ),
  };
}

/** The part of the tile's window (tile plus halo) that lies in the volume. */
export function readRegion(grid: TileGrid, indexZyx: Zyx): Region {
  const originZyx = mapZyx((i) =>
    Math.max(0, indexZyx[i] * grid.tileZyx[i] - grid.haloZyx[i]),
  );
  return {
    originZyx,
    shapeZyx: mapZyx(
      (i) =>
        Math.min(
          grid.volumeZyx[i],
          (indexZyx[i] + 1) * grid.tileZyx[i] + grid.haloZyx[i],
        ) - originZyx[i],
    ),
  };
}
