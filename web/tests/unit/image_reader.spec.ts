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
import type { VolumeLayout } from "../../src/tokenunify/axis_mapping.js";
import type {
  ImageChunk,
  ImageChunkSource,
} from "../../src/tokenunify/image_reader.js";
import { ImageReader } from "../../src/tokenunify/image_reader.js";
import type { Zyx } from "../../src/tokenunify/zyx.js";

/** A value that tells every voxel of a small volume apart. */
const valueAt = (z: number, y: number, x: number): number =>
  (z * 7919 + y * 104729 + x * 1299709) % 65521;

interface Store extends ImageChunkSource {
  fetched: string[];
  gate: Promise<void> | undefined;
  aborted: number;
}

/** A volume stored in chunks whose dimensions are in the given order. */
function store(
  volumeZyx: Zyx,
  order: readonly ("z" | "y" | "x" | "c")[],
  chunkSize: readonly number[],
  options: {
    clip?: boolean;
    missing?: (key: string) => boolean;
    lower?: readonly number[];
    fillValue?: number;
  } = {},
): Store {
  const rank = order.length;
  const lower = options.lower ?? order.map(() => 0);
  const extent = { z: volumeZyx[0], y: volumeZyx[1], x: volumeZyx[2], c: 1 };
  const upper = order.map((name, d) => (lower[d] ?? 0) + extent[name]);
  const layout: VolumeLayout = {
    rank,
    dimensionZyx: [order.indexOf("z"), order.indexOf("y"), order.indexOf("x")],
    otherDimensions: order.flatMap((name, d) => (name === "c" ? [d] : [])),
    lowerVoxelBound: lower,
    volumeZyx,
  };
  const self: Store = {
    layout,
    chunkSize,
    fillValue: options.fillValue ?? 0,
    fetched: [],
    gate: undefined,
    aborted: 0,
    async fetchChunk(grid, signal): Promise<ImageChunk> {
      const key = grid.join();
      self.fetched.push(key);
      signal.addEventListener("abort", () => ++self.aborted);
      await self.gate;
      signal.throwIfAborted();
      const origin = chunkSize.map((size, d) => size * (grid[d] ?? 0));
      const size = chunkSize.map((full, d) =>
        options.clip
          ? Math.min(full, (upper[d] ?? 0) - (origin[d] ?? 0))
          : full,
      );
      if (options.missing?.(key)) return { data: null, size };
      const data = new Uint16Array(size.reduce((a, b) => a * b, 1));
      for (let i = 0; i < data.length; ++i) {
        let rest = i;
        const position: Record<string, number> = {};
        order.forEach((name, d) => {
          const n = size[d] ?? 1;
          position[name] = (rest % n) + (origin[d] ?? 0) - (lower[d] ?? 0);
          rest = Math.floor(rest / n);
        });
        data[i] = valueAt(
          position["z"] ?? 0,
          position["y"] ?? 0,
          position["x"] ?? 0,
        );
      }
      return { data, size };
    },
  };
  return self;
}

function bruteForce(origin: Zyx, shape: Zyx): number[] {
  const out: number[] = [];
  for (let z = 0; z < shape[0]; ++z) {
    for (let y = 0; y < shape[1]; ++y) {
      for (let x = 0; x < shape[2]; ++x) {
        out.push(valueAt(origin[0] + z, origin[1] + y, origin[2] + x));
      }
    }
  }
  return out;
}

const never = new AbortController().signal;
const VOLUME: Zyx = [11, 23, 37];
const REGIONS: [Zyx, Zyx][] = [
  [
    [0, 0, 0],
    [11, 23, 37],
  ],
  [
    [2, 3, 5],
    [1, 1, 1],
  ],
  [
    [4, 7, 9],
    [5, 11, 17],
  ],
  [
    [10, 22, 30],
    [1, 1, 7],
  ],
  [
    [3, 8, 8],
    [5, 8, 16],
  ],
];

describe("ImageReader", () => {
  for (const clip of [false, true]) {
    for (const [order, chunk] of [
      [
        ["x", "y", "z"],
        [8, 8, 4],
      ],
      [
        ["x", "y", "z"],
        [64, 5, 1],
      ],
      [
        ["z", "y", "x"],
        [3, 7, 10],
      ],
      [
        ["c", "x", "y", "z"],
        [1, 9, 6, 5],
      ],
      [
        ["x", "y", "c", "z"],
        [16, 16, 3, 16],
      ],
    ] as const) {
      const kind = clip ? "clipped" : "full";
      it(`agrees with brute force for ${order.join("")} chunks ${chunk.join("×")}, ${kind} at the edge`, async () => {
        const source = store(VOLUME, order, chunk, { clip });
        const reader = new ImageReader(source, 2 ** 20);
        for (const [originZyx, shapeZyx] of REGIONS) {
          const { values, empty } = await reader.read(
            { originZyx, shapeZyx },
            never,
          );
          expect(Array.from(values)).toEqual(bruteForce(originZyx, shapeZyx));
          expect(empty).toBe(false);
        }
      });
    }
  }

  it("starts at the volume's first voxel, wherever the chunk grid starts", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4], {
      lower: [5, 9, 3],
    });
    const reader = new ImageReader(source, 2 ** 20);
    const region = { originZyx: [1, 2, 3], shapeZyx: [9, 20, 30] } as const;
    const { values } = await reader.read(region, never);
    expect(Array.from(values)).toEqual(
      bruteForce(region.originZyx, region.shapeZyx),
    );
  });

  it("a missing chunk reads as the fill value", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4], {
      missing: (key) => key === "1,1,1",
      fillValue: 77,
    });
    const reader = new ImageReader(source, 2 ** 20);
    const originZyx: Zyx = [3, 6, 6];
    const shapeZyx: Zyx = [3, 6, 6];
    const { values, empty } = await reader.read({ originZyx, shapeZyx }, never);
    const expected = bruteForce(originZyx, shapeZyx).map((value, i) => {
      const [z, y, x] = [Math.floor(i / 36), Math.floor(i / 6) % 6, i % 6];
      return z >= 1 && y >= 2 && x >= 2 ? 77 : value;
    });
    expect(Array.from(values)).toEqual(expected);
    expect(empty).toBe(false);
  });

  it("says when the store has nothing at all", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4], {
      missing: () => true,
    });
    const { empty } = await new ImageReader(source, 2 ** 20).read(
      { originZyx: [0, 0, 0], shapeZyx: [4, 4, 4] },
      never,
    );
    expect(empty).toBe(true);
  });

  it("fetches a chunk once for overlapping windows at the same time", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4]);
    const reader = new ImageReader(source, 2 ** 20);
    const region = { originZyx: [0, 0, 0], shapeZyx: [4, 8, 8] } as const;
    await Promise.all([reader.read(region, never), reader.read(region, never)]);
    await reader.read(region, never);
    expect(source.fetched).toEqual(["0,0,0"]);
  });

  it("keeps no more bytes than allowed", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4]);
    const reader = new ImageReader(source, 3 * 512);
    await reader.read({ originZyx: [0, 0, 0], shapeZyx: VOLUME }, never);
    expect(reader.cachedBytes).toBeLessThanOrEqual(3 * 512);
    expect(reader.cachedBytes).toBeGreaterThan(0);
  });

  it("aborts a download only when nobody waits for it any more", async () => {
    let open = (): void => {};
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4]);
    source.gate = new Promise((resolve) => {
      open = resolve;
    });
    const reader = new ImageReader(source, 2 ** 20);
    const region = { originZyx: [0, 0, 0], shapeZyx: [4, 8, 8] } as const;
    const first = new AbortController();
    const second = new AbortController();
    const a = reader.read(region, first.signal);
    const b = reader.read(region, second.signal);
    await Promise.resolve();
    first.abort(new Error("scrolled away"));
    await expect(a).rejects.toThrow("scrolled away");
    expect(source.aborted).toBe(0);
    open();
    expect((await b).empty).toBe(false);

    source.gate = new Promise(() => {});
    reader.clear();
    const third = new AbortController();
    const c = reader.read(region, third.signal);
    await Promise.resolve();
    third.abort(new Error("scrolled away"));
    await expect(c).rejects.toThrow("scrolled away");
    expect(source.aborted).toBe(1);
  });

  it("a failed download is tried again by the next reader", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4]);
    const { fetchChunk } = source;
    let failures = 1;
    source.fetchChunk = async (grid, signal) => {
      if (failures-- > 0) throw new Error("503");
      return fetchChunk(grid, signal);
    };
    const reader = new ImageReader(source, 2 ** 20);
    const region = { originZyx: [0, 0, 0], shapeZyx: [4, 8, 8] } as const;
    await expect(reader.read(region, never)).rejects.toThrow("503");
    expect((await reader.read(region, never)).values[0]).toBe(valueAt(0, 0, 0));
  });

  it("refuses a chunk with fewer values than it should have", async () => {
    const source = store(VOLUME, ["x", "y", "z"], [8, 8, 4]);
    source.fetchChunk = async () => ({
      data: new Uint8Array(100),
      size: [8, 8, 4],
    });
    await expect(
      new ImageReader(source, 2 ** 20).read(
        { originZyx: [0, 0, 0], shapeZyx: [1, 1, 1] },
        never,
      ),
    ).rejects.toThrow(/100 values instead of 256: truncated/);
  });
});
