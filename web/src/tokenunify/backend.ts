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
 * @file Entry point for Neuroglancer's chunk worker: the label source.
 *
 * A label chunk is a tile.  It waits in Neuroglancer's compute queue, which
 * starts the most urgent tile whenever there is room, and aborts the least
 * urgent when a more urgent one arrives.
 */

import "./session_backend.js";
import "./summary_source.js";
import { WithParameters } from "neuroglancer/unstable/chunk_manager/backend.js";
import type { Chunk } from "neuroglancer/unstable/chunk_manager/backend.js";
import { ChunkState } from "neuroglancer/unstable/chunk_manager/base.js";
import { postProcessRawData } from "neuroglancer/unstable/sliceview/backend_chunk_decoders/postprocess.js";
import {
  VolumeChunk,
  VolumeChunkSource,
} from "neuroglancer/unstable/sliceview/volume/backend.js";
import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
import { registerSharedObject } from "neuroglancer/unstable/worker_rpc.js";
import { LabelSourceParameters } from "./base.js";
import {
  computeItemLimit,
  setChunkConstructor,
  setDownloadSlots,
} from "./neuroglancer_internals.js";
import type { BackendSession, SessionListener } from "./session_backend.js";
import { gridZyxOf } from "./summary_source.js";

/** Waits in the compute queue, so that the network holds no download slot. */
class LabelChunk extends VolumeChunk {
  override isComputational = true;
}

export class LabelSource
  extends WithParameters(VolumeChunkSource, LabelSourceParameters)
  implements SessionListener
{
  private readonly session: BackendSession;

  constructor(rpc: RPC, options: { session: { id: number; gen: number } }) {
    super(rpc, options);
    this.session = this.registerDisposer(
      rpc.getRef<BackendSession>(options.session),
    );
    this.session.listeners.add(this);
    this.registerDisposer(() => {
      this.session.listeners.delete(this);
    });
  }

  override getChunk(chunkGridPosition: Float32Array): VolumeChunk {
    const chunk = super.getChunk(chunkGridPosition) as VolumeChunk;
    if (chunk.state === ChunkState.NEW || chunk.state === ChunkState.QUEUED) {
      // N tiles fill the queue, so Neuroglancer keeps exactly N in work.
      const limit = computeItemLimit(this.chunkManager.queueManager);
      setDownloadSlots(
        chunk,
        Math.max(1, Math.ceil(limit / this.session.concurrency)),
      );
    }
    return chunk;
  }

  override async download(
    chunk: VolumeChunk,
    signal: AbortSignal,
  ): Promise<void> {
    this.computeChunkBounds(chunk);
    await this.session.segmentTile(
      gridZyxOf(chunk.chunkGridPosition),
      signal,
      (labels) => postProcessRawData(chunk, signal, labels),
    );
  }

  override chunkStateChanged(chunk: Chunk, oldState: ChunkState): void {
    super.chunkStateChanged(chunk, oldState);
    const held = (state: ChunkState): boolean =>
      state <= ChunkState.SYSTEM_MEMORY_WORKER;
    if (chunk.key !== null && held(oldState) && !held(chunk.state)) {
      this.session.release(gridZyxOf((chunk as VolumeChunk).chunkGridPosition));
    }
    this.session.statusChanged();
  }

  invalidate(): void {
    this.chunkManager.queueManager.invalidateSourceCache(this);
    this.chunkManager.scheduleUpdateChunkPriorities();
  }

  queued(): number {
    let count = 0;
    for (const chunk of this.chunks.values()) {
      if (chunk.state === ChunkState.QUEUED) ++count;
    }
    return count;
  }
}

setChunkConstructor(LabelSource, LabelChunk);
registerSharedObject()(LabelSource);
