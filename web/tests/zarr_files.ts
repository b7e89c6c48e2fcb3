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
 * @file Writes small zarr v3 arrays (one codec: bytes, little-endian) for tests.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface ZarrSpecification {
  readonly shape: readonly number[];
  readonly chunk: readonly number[];
  readonly dataType: "uint8" | "uint16" | "uint64" | "float32";
  readonly dimensionNames: readonly string[];
  /** Nanometres along each dimension; written as OME-NGFF 0.5 metadata. */
  readonly voxelNm?: readonly number[];
}

const ITEM_BYTES = { uint8: 1, uint16: 2, uint64: 8, float32: 4 } as const;

function put(
  view: DataView,
  type: ZarrSpecification["dataType"],
  offset: number,
  value: number,
): void {
  switch (type) {
    case "uint8":
      return view.setUint8(offset, value);
    case "uint16":
      return view.setUint16(offset, value, true);
    case "uint64":
      return view.setBigUint64(offset, BigInt(value), true);
    case "float32":
      return view.setFloat32(offset, value, true);
  }
}

function writeArray(
  folder: string,
  spec: ZarrSpecification,
  value: (position: readonly number[]) => number,
): void {
  const { shape, chunk, dataType, dimensionNames } = spec;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(folder, "zarr.json"),
    JSON.stringify({
      zarr_format: 3,
      node_type: "array",
      shape,
      data_type: dataType,
      chunk_grid: { name: "regular", configuration: { chunk_shape: chunk } },
      chunk_key_encoding: {
        name: "default",
        configuration: { separator: "/" },
      },
      fill_value: 0,
      codecs: [{ name: "bytes", configuration: { endian: "little" } }],
      dimension_names: dimensionNames,
      attributes: {},
    }),
  );
  const voxels = chunk.reduce((a, b) => a * b, 1);
  const counts = shape.map((n, i) => Math.ceil(n / (chunk[i] ?? 1)));
  const chunks = counts.reduce((a, b) => a * b, 1);
  const unravel = (index: number, extents: readonly number[]): number[] => {
    const position = extents.map(() => 0);
    for (let i = extents.length - 1; i >= 0; --i) {
      const extent = extents[i] ?? 1;
      position[i] = index % extent;
      index = Math.floor(index / extent);
    }
    return position;
  };
  for (let c = 0; c < chunks; ++c) {
    const grid = unravel(c, counts);
    const bytes = new ArrayBuffer(voxels * ITEM_BYTES[dataType]);
    const view = new DataView(bytes);
    for (let v = 0; v < voxels; ++v) {
      const position = unravel(v, chunk).map(
        (p, i) => p + (grid[i] ?? 0) * (chunk[i] ?? 1),
      );
      if (position.some((p, i) => p >= (shape[i] ?? 0))) continue;
      put(view, dataType, v * ITEM_BYTES[dataType], value(position));
    }
    const file = path.join(folder, "c", ...grid.map(String));
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, new Uint8Array(bytes));
  }
}

/**
 * Writes an array, or, with a voxel size, an OME-NGFF group with one scale.
 * @param value gives the value at a position in the order of the dimensions
 */
export function writeZarr(
  folder: string,
  spec: ZarrSpecification,
  value: (position: readonly number[]) => number,
): void {
  if (spec.voxelNm === undefined) {
    writeArray(folder, spec, value);
    return;
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(folder, "zarr.json"),
    JSON.stringify({
      zarr_format: 3,
      node_type: "group",
      attributes: {
        ome: {
          version: "0.5",
          multiscales: [
            {
              axes: spec.dimensionNames.map((name) => ({
                name,
                type: "space",
                unit: "nanometer",
              })),
              datasets: [
                {
                  path: "s0",
                  coordinateTransformations: [
                    { type: "scale", scale: spec.voxelNm },
                  ],
                },
              ],
            },
          ],
        },
      },
    }),
  );
  writeArray(path.join(folder, "s0"), spec, value);
}
