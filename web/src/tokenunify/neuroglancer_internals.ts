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
 * @file The members of Neuroglancer 2.41.2 that are private, or declared
 * nowhere, and that this package relies on.  An upgrade of Neuroglancer starts
 * by checking this file and `neuroglancer_modules.d.ts`.
 */

import type { ChunkQueueManager } from "neuroglancer/unstable/chunk_manager/backend.js";
import type { DataSourceRegistry } from "neuroglancer/unstable/datasource/index.js";
import type {
  VolumeChunk,
  VolumeChunkSource,
} from "neuroglancer/unstable/sliceview/volume/backend.js";

/**
 * Number of capacity items that a chunk takes while it is in work.  The public
 * setter updates the statistics of a chunk that is counted already; a new chunk
 * is not, so the field behind it is set (`chunk_manager/backend.ts`, class
 * Chunk).  Only for chunks that are new or queued.
 */
export function setDownloadSlots(chunk: VolumeChunk, slots: number): void {
  (chunk as unknown as { downloadSlots_: number }).downloadSlots_ = slots;
}

/** Items of the compute queue (128 unless a viewer changes it). */
export function computeItemLimit(queue: ChunkQueueManager): number {
  return queue.computeCapacity.itemLimit.value;
}

interface ChunkMaker {
  chunkConstructor: new () => VolumeChunk;
}

/**
 * A chunk that is not registered with its source: `download` fills it, and
 * nobody else knows of it.
 */
export function makePrivateChunk(
  source: VolumeChunkSource,
  gridPosition: Float32Array,
): VolumeChunk {
  const chunk = new (source as unknown as ChunkMaker).chunkConstructor();
  chunk.source = source;
  // Declared as vec3, used with any rank.
  chunk.initializeVolumeChunk(
    gridPosition.join(),
    gridPosition as unknown as Parameters<
      VolumeChunk["initializeVolumeChunk"]
    >[1],
  );
  return chunk;
}

/** Makes a source create its chunks from this class. */
export function setChunkConstructor(
  sourceClass: { readonly prototype: VolumeChunkSource },
  chunkClass: new () => VolumeChunk,
): void {
  (sourceClass.prototype as unknown as ChunkMaker).chunkConstructor =
    chunkClass;
}

/**
 * The two methods of the registry that have to know about a scheme which wraps
 * other URLs; there is no hook for that.
 */
export type RegistryMethods = Pick<DataSourceRegistry, "get" | "completeUrl">;

export function patchRegistry(
  registryClass: { readonly prototype: DataSourceRegistry },
  make: (original: RegistryMethods) => RegistryMethods,
): void {
  const prototype = registryClass.prototype as RegistryMethods;
  const original: RegistryMethods = {
    get: prototype.get,
    completeUrl: prototype.completeUrl,
  };
  Object.assign(prototype, make(original));
}
