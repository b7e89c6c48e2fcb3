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
 * @file Reads any box of an EM volume from the chunks of its source.
 *
 * Neighbouring windows overlap by their halos, and EM chunks rarely match the
 * tile grid, so the same chunk is wanted several times: chunks are kept in a
 * least-recently-used cache bounded in bytes, and concurrent requests for one
 * chunk share one download, which is aborted only when nobody wants it any
 * more.
 */

import type { VolumeLayout } from "./axis_mapping.js";
import { ByteLru } from "./byte_lru.js";
import type { Region, Zyx } from "./zyx.js";
import { mapZyx, productZyx } from "./zyx.js";

/** The element types that EM volumes come in. */
export type ImageArray = Uint8Array | Uint16Array | Float32Array;

export interface ImageChunk {
  /** Dimension 0 fastest; null where the store has no such chunk. */
  readonly data: ImageArray | null;
  /** Extent of `data` along each chunk-space dimension. */
  readonly size: ArrayLike<number>;
}

/** Where chunks come from: Neuroglancer's source, or arrays in a test. */
export interface ImageChunkSource {
  readonly layout: VolumeLayout;
  /** Regular chunk size along each chunk-space dimension. */
  readonly chunkSize: ArrayLike<number>;
  readonly fillValue: number;
  fetchChunk(grid: Float32Array, signal: AbortSignal): Promise<ImageChunk>;
}

/** Values of a box of the volume, zyx with x fastest. */
export interface ImageRegion {
  readonly values: Float32Array<ArrayBuffer>;
  /** True where the store held none of the chunks. */
  readonly empty: boolean;
}

interface PendingChunk {
  readonly promise: Promise<ImageChunk>;
  readonly controller: AbortController;
  waiting: number;
}

export class ImageReader {
  private readonly cache: ByteLru<ImageChunk>;
  private readonly pending = new Map<string, PendingChunk>();

  constructor(
    private readonly source: ImageChunkSource,
    cacheBytes: number,
  ) {
    this.cache = new ByteLru(cacheBytes);
  }

  get cachedBytes(): number {
    return this.cache.bytes;
  }

  /** Forgets every chunk, so that a second attempt asks the store again. */
  clear(): void {
    this.cache.clear();
  }

  /**
   * Reads a box that lies inside the volume.
   * @throws whatever the source throws, or `signal.reason` when aborted
   */
  async read(region: Region, signal: AbortSignal): Promise<ImageRegion> {
    const { layout, chunkSize, fillValue } = this.source;
    const values = new Float32Array(productZyx(region.shapeZyx));
    if (fillValue !== 0) values.fill(fillValue);
    // the box in the source's chunk space
    const begin = mapZyx(
      (i) =>
        region.originZyx[i] +
        (layout.lowerVoxelBound[layout.dimensionZyx[i]] ?? 0),
    );
    const size = mapZyx((i) => chunkSize[layout.dimensionZyx[i]] ?? 1);
    const first = mapZyx((i) => Math.floor(begin[i] / size[i]));
    const last = mapZyx((i) =>
      Math.floor((begin[i] + region.shapeZyx[i] - 1) / size[i]),
    );
    let found = 0;
    const tasks: Promise<void>[] = [];
    for (let z = first[0]; z <= last[0]; ++z) {
      for (let y = first[1]; y <= last[1]; ++y) {
        for (let x = first[2]; x <= last[2]; ++x) {
          const index: Zyx = [z, y, x];
          tasks.push(
            this.chunk(this.gridPosition(index), signal).then((chunk) => {
              if (chunk.data === null) return;
              ++found;
              const origin = mapZyx((i) => index[i] * size[i]);
              copyChunk(chunk, layout, origin, begin, region.shapeZyx, values);
            }),
          );
        }
      }
    }
    await Promise.all(tasks);
    return { values, empty: found === 0 };
  }

  private gridPosition(indexZyx: Zyx): Float32Array {
    const { layout, chunkSize } = this.source;
    const grid = new Float32Array(layout.rank);
    layout.dimensionZyx.forEach((dimension, axis) => {
      grid[dimension] = indexZyx[axis] ?? 0;
    });
    for (const dimension of layout.otherDimensions) {
      grid[dimension] = Math.floor(
        (layout.lowerVoxelBound[dimension] ?? 0) / (chunkSize[dimension] ?? 1),
      );
    }
    return grid;
  }

  private async chunk(
    grid: Float32Array,
    signal: AbortSignal,
  ): Promise<ImageChunk> {
    signal.throwIfAborted();
    const key = grid.join();
    const cached = this.cache.get(key);
    if (cached !== undefined) return cached;
    let pending = this.pending.get(key);
    if (pending === undefined) {
      pending = this.start(key, grid);
      this.pending.set(key, pending);
    }
    ++pending.waiting;
    return raceWithSignal(pending, signal);
  }

  private start(key: string, grid: Float32Array): PendingChunk {
    const controller = new AbortController();
    const promise = this.source
      .fetchChunk(grid, controller.signal)
      .then((chunk) => {
        this.cache.set(key, chunk, chunk.data?.byteLength ?? 64);
        return chunk;
      });
    const entry: PendingChunk = { promise, controller, waiting: 0 };
    const forget = (): void => {
      if (this.pending.get(key) === entry) this.pending.delete(key);
    };
    controller.signal.addEventListener("abort", forget, { once: true });
    promise.then(forget, forget);
    return entry;
  }
}

function raceWithSignal(
  pending: PendingChunk,
  signal: AbortSignal,
): Promise<ImageChunk> {
  return new Promise((resolve, reject) => {
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      signal.removeEventListener("abort", onAbort);
      --pending.waiting;
    };
    const onAbort = (): void => {
      leave();
      if (pending.waiting === 0) pending.controller.abort(signal.reason);
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    pending.promise.then(
      (chunk) => {
        leave();
        resolve(chunk);
      },
      (error: unknown) => {
        leave();
        reject(error as Error);
      },
    );
  });
}

/**
 * Copies the overlap of a chunk and a box into the box.
 * @param originZyx first voxel of the chunk, in chunk space
 * @param beginZyx first voxel of the box, in chunk space
 */
function copyChunk(
  chunk: ImageChunk,
  layout: VolumeLayout,
  originZyx: Zyx,
  beginZyx: Zyx,
  shapeZyx: Zyx,
  out: Float32Array,
): void {
  const { data } = chunk;
  if (data === null) return;
  const strides: number[] = [];
  let stride = 1;
  for (let d = 0; d < layout.rank; ++d) {
    strides.push(stride);
    stride *= chunk.size[d] ?? 1;
  }
  if (data.length < stride) {
    throw new Error(
      `EM chunk has ${data.length} values instead of ${stride}: truncated?`,
    );
  }
  let base = 0;
  for (const dimension of layout.otherDimensions) {
    const position = layout.lowerVoxelBound[dimension] ?? 0;
    const size = chunk.size[dimension] ?? 1;
    base += (position % size) * (strides[dimension] ?? 0);
  }
  const strideZyx = mapZyx((i) => strides[layout.dimensionZyx[i]] ?? 0);
  const from = mapZyx((i) => Math.max(originZyx[i], beginZyx[i]));
  const to = mapZyx((i) =>
    Math.min(
      originZyx[i] + (chunk.size[layout.dimensionZyx[i]] ?? 1),
      beginZyx[i] + shapeZyx[i],
    ),
  );
  const length = to[2] - from[2];
  if (length <= 0) return;
  for (let z = from[0]; z < to[0]; ++z) {
    for (let y = from[1]; y < to[1]; ++y) {
      const source =
        base +
        (z - originZyx[0]) * strideZyx[0] +
        (y - originZyx[1]) * strideZyx[1] +
        (from[2] - originZyx[2]) * strideZyx[2];
      const target =
        ((z - beginZyx[0]) * shapeZyx[1] + (y - beginZyx[1])) * shapeZyx[2] +
        (from[2] - beginZyx[2]);
      if (strideZyx[2] === 1) {
        out.set(data.subarray(source, source + length), target);
      } else {
        for (let k = 0; k < length; ++k) {
          out[target + k] = data[source + k * strideZyx[2]] ?? 0;
        }
      }
    }
  }
}
