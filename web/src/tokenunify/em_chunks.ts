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
 * @file EM chunks out of the wrapped Neuroglancer source, in the chunk worker.
 *
 * Whatever Neuroglancer can show can be read: its sources bring their formats,
 * sharding and credentials.  A chunk that the image layer holds already is
 * fetched back from the main thread instead of the network.
 */

import { ChunkState } from "neuroglancer/unstable/chunk_manager/base.js";
import type {
  VolumeChunk,
  VolumeChunkSource,
} from "neuroglancer/unstable/sliceview/volume/backend.js";
import type { VolumeLayout } from "./axis_mapping.js";
import type {
  ImageArray,
  ImageChunk,
  ImageChunkSource,
} from "./image_reader.js";
import { makePrivateChunk } from "./neuroglancer_internals.js";

function asImageArray(data: unknown): ImageArray | null {
  if (data === null || data === undefined) return null;
  if (
    data instanceof Uint8Array ||
    data instanceof Uint16Array ||
    data instanceof Float32Array
  ) {
    return data;
  }
  throw new Error(
    `The EM source delivers ${Object.prototype.toString.call(data)}; ` +
      `expected values of type uint8, uint16 or float32.`,
  );
}

export class EmChunks implements ImageChunkSource {
  readonly fillValue: number;

  constructor(
    private readonly source: VolumeChunkSource,
    readonly layout: VolumeLayout,
  ) {
    this.fillValue = Number(source.spec.fillValue ?? 0);
  }

  get chunkSize(): Uint32Array {
    return this.source.spec.chunkDataSize;
  }

  async fetchChunk(
    grid: Float32Array,
    signal: AbortSignal,
  ): Promise<ImageChunk> {
    const shown = await this.fromImageLayer(grid.join());
    if (shown !== undefined) return shown;
    const chunk = makePrivateChunk(this.source, grid);
    try {
      await this.source.download(chunk, signal);
      return {
        data: asImageArray(chunk.data),
        size: chunk.chunkDataSize ?? this.chunkSize,
      };
    } finally {
      chunk.dispose();
    }
  }

  private async fromImageLayer(key: string): Promise<ImageChunk | undefined> {
    const chunk = this.source.chunks.get(key) as VolumeChunk | undefined;
    if (chunk === undefined) return undefined;
    const size = chunk.chunkDataSize ?? this.chunkSize;
    if (chunk.state === ChunkState.SYSTEM_MEMORY_WORKER && chunk.data) {
      // A copy: the buffer itself moves to the main thread later.
      return { data: asImageArray(chunk.data)?.slice() ?? null, size };
    }
    if (chunk.state > ChunkState.SYSTEM_MEMORY) return undefined;
    try {
      const data =
        await this.source.chunkManager.queueManager.retrieveChunkData(chunk);
      const values = asImageArray(data);
      return values === null ? undefined : { data: values, size };
    } catch {
      // The main thread has dropped the chunk in the meantime.
      return undefined;
    }
  }
}
