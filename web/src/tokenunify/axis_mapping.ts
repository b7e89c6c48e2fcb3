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
 * @file Which dimension of an EM source is z, y and x.
 *
 * Neuroglancer stores chunks with dimension 0 fastest and describes a scale by
 * a homogeneous matrix from its chunk space to the model space, whose
 * dimensions have names.  Formats differ: zarr `[z, y, x]` in C order arrives
 * as chunk dimensions x, y, z; a Fortran-order array arrives reversed; some
 * sources add a channel or time dimension.  Here each source is reduced to
 * three spatial dimensions; all others must have extent 1.
 *
 * Labels use a chunk space of their own, always x, y, z, then the other
 * dimensions, so that fragment ids (raster index, x fastest) do not depend on
 * how the EM volume is stored.
 */

import type { Zyx } from "./zyx.js";
import { mapZyx } from "./zyx.js";

/** One scale of an EM source, as Neuroglancer describes it. */
export interface ScaleDescription {
  readonly rank: number;
  readonly lowerVoxelBound: ArrayLike<number>;
  readonly upperVoxelBound: ArrayLike<number>;
  /** Column-major, `(rank + 1)²`. */
  readonly chunkToModel: ArrayLike<number>;
}

/** Names, scales and units of the model space that a volume lives in. */
export interface ModelSpace {
  readonly names: readonly string[];
  /** Size of one unit of each dimension, in `units`. */
  readonly scales: ArrayLike<number>;
  readonly units: readonly string[];
}

export interface VolumeLayout {
  readonly rank: number;
  /** Chunk-space dimension of the EM source that is z, y, x. */
  readonly dimensionZyx: Zyx;
  /** The other chunk-space dimensions, ascending; each has extent 1. */
  readonly otherDimensions: readonly number[];
  /** First voxel of the volume in the EM source's chunk space. */
  readonly lowerVoxelBound: readonly number[];
  readonly volumeZyx: Zyx;
}

/** The volume has a shape that cannot be segmented. */
export class VolumeLayoutError extends Error {
  override readonly name = "VolumeLayoutError";
}

function at(values: ArrayLike<number>, index: number): number {
  const value = values[index];
  if (value === undefined) {
    throw new VolumeLayoutError(
      `Incomplete volume description: no entry ${index} of ${values.length}.`,
    );
  }
  return value;
}

function modelDimensionOf(scale: ScaleDescription, dimension: number): number {
  const stride = scale.rank + 1;
  let best = 0;
  for (let row = 1; row < scale.rank; ++row) {
    const candidate = Math.abs(
      at(scale.chunkToModel, dimension * stride + row),
    );
    const current = Math.abs(at(scale.chunkToModel, dimension * stride + best));
    if (candidate > current) best = row;
  }
  return best;
}

function extent(scale: ScaleDescription, dimension: number): number {
  return (
    at(scale.upperVoxelBound, dimension) - at(scale.lowerVoxelBound, dimension)
  );
}

/**
 * Finds z, y and x: by name where the model space has dimensions of these
 * names, otherwise the last three dimensions of extent above 1 in the order of
 * the model space, x last, as arrays are stored on disk.
 */
export function volumeLayout(
  scale: ScaleDescription,
  names: readonly string[],
): VolumeLayout {
  const { rank } = scale;
  if (rank < 3) {
    throw new VolumeLayoutError(
      `The volume has ${rank} dimension(s); segmentation needs z, y and x. ` +
        `Open a three-dimensional array.`,
    );
  }
  // chunk dimension for each model dimension
  const chunkDimension = new Map<number, number>();
  for (let d = 0; d < rank; ++d) {
    chunkDimension.set(modelDimensionOf(scale, d), d);
  }
  if (chunkDimension.size !== rank) {
    throw new VolumeLayoutError(
      "The volume's axes are sheared or rotated by 45 degrees or more; " +
        "segmentation needs axes along z, y and x.",
    );
  }
  const dimension = (modelDimension: number): number =>
    chunkDimension.get(modelDimension) ?? modelDimension;

  const lowerNames = names.map((name) => name.toLowerCase());
  const byName = ["z", "y", "x"].map((name) => lowerNames.indexOf(name));
  let spatial: number[];
  if (byName.every((index) => index >= 0 && index < rank)) {
    spatial = byName.map(dimension);
  } else {
    const all = Array.from({ length: rank }, (_, i) => i);
    const extended = all.filter((m) => extent(scale, dimension(m)) > 1);
    const chosen = extended.length >= 3 ? extended : all;
    spatial = chosen.slice(-3).map(dimension);
  }
  const dimensionZyx = mapZyx((axis) => spatial[axis] ?? 0);

  const otherDimensions: number[] = [];
  for (let d = 0; d < rank; ++d) {
    if (spatial.includes(d)) continue;
    otherDimensions.push(d);
    const size = extent(scale, d);
    if (size !== 1) {
      const name = names[modelDimensionOf(scale, d)] ?? `d${d}`;
      throw new VolumeLayoutError(
        `The volume has ${size} entries along dimension ${JSON.stringify(name)}; ` +
          `segmentation needs one EM image: only z, y and x may be longer than 1. ` +
          `Open a single channel or time point.`,
      );
    }
  }
  return {
    rank,
    dimensionZyx,
    otherDimensions,
    lowerVoxelBound: Array.from({ length: rank }, (_, d) =>
      at(scale.lowerVoxelBound, d),
    ),
    volumeZyx: mapZyx((axis) => extent(scale, dimensionZyx[axis])),
  };
}

/** EM chunk-space dimensions in the order of the label chunk space. */
export function labelDimensions(layout: VolumeLayout): readonly number[] {
  const [z, y, x] = layout.dimensionZyx;
  return [x, y, z, ...layout.otherDimensions];
}

/**
 * The matrix from the label chunk space (x, y, z, others; origin at the
 * volume's first voxel; one label voxel = `factorZyx` EM voxels) to the model
 * space.  Column-major, `(rank + 1)²`.
 */
export function labelToModel(
  layout: VolumeLayout,
  chunkToModel: ArrayLike<number>,
  factorZyx: Zyx = [1, 1, 1],
): Float32Array {
  const { rank } = layout;
  const stride = rank + 1;
  const out = new Float32Array(stride * stride);
  const factors = [factorZyx[2], factorZyx[1], factorZyx[0]];
  labelDimensions(layout).forEach((emDimension, column) => {
    for (let row = 0; row < rank; ++row) {
      out[column * stride + row] =
        at(chunkToModel, emDimension * stride + row) * (factors[column] ?? 1);
    }
  });
  for (let row = 0; row < rank; ++row) {
    let translation = at(chunkToModel, rank * stride + row);
    for (let d = 0; d < rank; ++d) {
      translation +=
        at(chunkToModel, d * stride + row) * at(layout.lowerVoxelBound, d);
    }
    out[rank * stride + row] = translation;
  }
  out[rank * stride + rank] = 1;
  return out;
}

/**
 * Voxel size in nanometres, or undefined where the volume has no physical
 * units.
 */
export function voxelNmZyx(
  layout: VolumeLayout,
  scale: ScaleDescription,
  space: ModelSpace,
): Zyx | undefined {
  const stride = scale.rank + 1;
  const sizes = layout.dimensionZyx.map((dimension) => {
    let sumOfSquares = 0;
    for (let row = 0; row < scale.rank; ++row) {
      const entry = at(scale.chunkToModel, dimension * stride + row);
      if (entry === 0) continue;
      if (space.units[row] !== "m") return Number.NaN;
      sumOfSquares += (entry * at(space.scales, row)) ** 2;
    }
    return Math.sqrt(sumOfSquares) * 1e9;
  });
  const size = mapZyx((axis) => sizes[axis] ?? Number.NaN);
  return size.every((nm) => Number.isFinite(nm) && nm > 0) ? size : undefined;
}

/**
 * The scale whose voxels are nearest to the model's, by the sum over the axes
 * of |log(size / model size)|.  Scales without physical size: the first.
 */
export function nearestScale(
  voxelNm: readonly (Zyx | undefined)[],
  modelVoxelNmZyx: Zyx,
): number {
  let best = 0;
  let bestDistance = Number.POSITIVE_INFINITY;
  voxelNm.forEach((size, index) => {
    if (size === undefined) return;
    const distance =
      Math.abs(Math.log(size[0] / modelVoxelNmZyx[0])) +
      Math.abs(Math.log(size[1] / modelVoxelNmZyx[1])) +
      Math.abs(Math.log(size[2] / modelVoxelNmZyx[2]));
    if (distance < bestDistance - 1e-9) {
      best = index;
      bestDistance = distance;
    }
  });
  return best;
}
