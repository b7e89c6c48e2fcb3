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
import type { ScaleDescription } from "../../src/tokenunify/axis_mapping.js";
import {
  labelDimensions,
  labelToModel,
  nearestScale,
  volumeLayout,
  voxelNmZyx,
} from "../../src/tokenunify/axis_mapping.js";

/** A scale whose chunk dimension d is the model dimension `toModel[d]`. */
function scale(
  toModel: readonly number[],
  upper: readonly number[],
  options: {
    lower?: readonly number[];
    sizes?: readonly number[];
    translation?: readonly number[];
  } = {},
): ScaleDescription {
  const rank = toModel.length;
  const stride = rank + 1;
  const chunkToModel = new Float32Array(stride * stride);
  toModel.forEach((row, d) => {
    chunkToModel[d * stride + row] = options.sizes?.[d] ?? 1;
  });
  options.translation?.forEach((t, row) => {
    chunkToModel[rank * stride + row] = t;
  });
  chunkToModel[rank * stride + rank] = 1;
  return {
    rank,
    lowerVoxelBound: options.lower ?? toModel.map(() => 0),
    upperVoxelBound: upper,
    chunkToModel,
  };
}

describe("volumeLayout", () => {
  it("a zarr array zyx in C order has its fastest dimension as x", () => {
    const layout = volumeLayout(scale([2, 1, 0], [50, 40, 30]), [
      "z",
      "y",
      "x",
    ]);
    expect(layout.dimensionZyx).toEqual([2, 1, 0]);
    expect(layout.volumeZyx).toEqual([30, 40, 50]);
    expect(labelDimensions(layout)).toEqual([0, 1, 2]);
  });

  it("an array without names is taken as zyx", () => {
    const layout = volumeLayout(scale([2, 1, 0], [50, 40, 30]), [
      "d0",
      "d1",
      "d2",
    ]);
    expect(layout.volumeZyx).toEqual([30, 40, 50]);
  });

  it("a Fortran-order array zyx has z fastest in its chunks", () => {
    const layout = volumeLayout(scale([0, 1, 2], [30, 40, 50]), [
      "z",
      "y",
      "x",
    ]);
    expect(layout.dimensionZyx).toEqual([0, 1, 2]);
    expect(layout.volumeZyx).toEqual([30, 40, 50]);
    expect(labelDimensions(layout)).toEqual([2, 1, 0]);
  });

  it("a precomputed volume is xyz by name", () => {
    const layout = volumeLayout(scale([0, 1, 2], [50, 40, 30]), [
      "x",
      "y",
      "z",
    ]);
    expect(layout.dimensionZyx).toEqual([2, 1, 0]);
    expect(layout.volumeZyx).toEqual([30, 40, 50]);
  });

  it("time and channel of extent 1 are carried along", () => {
    const layout = volumeLayout(scale([4, 3, 2, 1, 0], [50, 40, 30, 1, 1]), [
      "t",
      "c^",
      "z",
      "y",
      "x",
    ]);
    expect(layout.dimensionZyx).toEqual([2, 1, 0]);
    expect(layout.otherDimensions).toEqual([3, 4]);
  });

  it("a single section keeps its z of extent 1", () => {
    const layout = volumeLayout(scale([2, 1, 0], [50, 40, 1]), ["z", "y", "x"]);
    expect(layout.volumeZyx).toEqual([1, 40, 50]);
  });

  it("refuses several channels and says which dimension they are in", () => {
    expect(() =>
      volumeLayout(scale([3, 2, 1, 0], [50, 40, 30, 3]), ["c^", "z", "y", "x"]),
    ).toThrow(/3 entries along dimension "c\^"/);
  });

  it("refuses flat images and sheared axes", () => {
    expect(() => volumeLayout(scale([1, 0], [5, 4]), ["y", "x"])).toThrow(
      /2 dimension/,
    );
    expect(() =>
      volumeLayout(scale([0, 0, 2], [5, 4, 3]), ["x", "y", "z"]),
    ).toThrow(/sheared/);
  });
});

describe("labelToModel", () => {
  it("places label voxels where the EM voxels are", () => {
    const em = scale([0, 1, 2], [30, 40, 50], {
      lower: [3, 5, 7],
      sizes: [4, 2, 2],
      translation: [100, 200, 300],
    });
    const layout = volumeLayout(em, ["z", "y", "x"]);
    expect(layout.volumeZyx).toEqual([27, 35, 43]);
    const matrix = labelToModel(layout, em.chunkToModel);
    const apply = (xyz: readonly number[]): number[] =>
      [0, 1, 2].map(
        (row) =>
          (matrix[12 + row] ?? 0) +
          xyz.reduce((sum, v, d) => sum + v * (matrix[d * 4 + row] ?? 0), 0),
      );
    // label voxel x=1, y=2, z=3 is EM chunk voxel z=6, y=7, x=8
    expect(apply([1, 2, 3])).toEqual([100 + 4 * 6, 200 + 2 * 7, 300 + 2 * 8]);
    const coarse = labelToModel(layout, em.chunkToModel, [1, 2, 2]);
    expect(coarse[2]).toBe(4); // one coarse voxel in x is two EM voxels of 2
  });
});

describe("voxel size", () => {
  const space = {
    names: ["z", "y", "x"],
    scales: [30e-9, 8e-9, 8e-9],
    units: ["m", "m", "m"],
  };
  const scales = [1, 2, 4].map((f) =>
    scale([2, 1, 0], [512 / f, 512 / f, 64], { sizes: [f, f, 1] }),
  );

  it("is read in nanometres for each scale", () => {
    const [, second] = scales;
    const layout = volumeLayout(second!, space.names);
    const size = voxelNmZyx(layout, second!, space)!;
    size.forEach((nm, i) => expect(nm).toBeCloseTo([30, 16, 16][i]!, 6));
  });

  it("is unknown without units", () => {
    const [first] = scales;
    const layout = volumeLayout(first!, space.names);
    expect(
      voxelNmZyx(layout, first!, { ...space, units: ["", "", ""] }),
    ).toBeUndefined();
  });

  it("chooses the scale nearest to the model's", () => {
    const sizes = scales.map((s) =>
      voxelNmZyx(volumeLayout(s, space.names), s, space),
    );
    expect(nearestScale(sizes, [30, 8, 8])).toBe(0);
    expect(nearestScale(sizes, [30, 14, 14])).toBe(1);
    expect(nearestScale(sizes, [40, 60, 60])).toBe(2);
    expect(nearestScale([undefined, undefined], [30, 8, 8])).toBe(0);
  });
});
