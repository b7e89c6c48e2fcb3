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
 * @file The chunk source of one coarse scale, in the chunk worker.
 */

import { ChunkState } from "neuroglancer/unstable/chunk_manager/base.js";
import { WithParameters } from "neuroglancer/unstable/chunk_manager/backend.js";
import { postProcessRawData } from "neuroglancer/unstable/sliceview/backend_chunk_decoders/postprocess.js";
import type { VolumeChunk } from "neuroglancer/unstable/sliceview/volume/backend.js";
import { VolumeChunkSource } from "neuroglancer/unstable/sliceview/volume/backend.js";
import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
import { registerSharedObject } from "neuroglancer/unstable/worker_rpc.js";
import { SummarySourceParameters } from "./base.js";
import { makePrivateChunk } from "./neuroglancer_internals.js";
import type { BackendSession, SessionListener } from "./session_backend.js";
import type { SummaryKey } from "./summary_pyramid.js";
import { Throttle } from "./throttle.js";
import type { Zyx } from "./zyx.js";

const REFRESH_INTERVAL_MS = 300;

/** Grid position of a label or summary chunk, whose axes are x, y, z, …. */
export function gridZyxOf(chunkGridPosition: Float32Array): Zyx {
  const [x = 0, y = 0, z = 0] = chunkGridPosition;
  return [z, y, x];
}

export class SummarySource
  extends WithParameters(VolumeChunkSource, SummarySourceParameters)
  implements SessionListener
{
  private readonly session: BackendSession;
  private readonly changed = new Set<string>();
  private readonly refreshThrottle = new Throttle(
    REFRESH_INTERVAL_MS,
    async () => {
      await this.refresh();
      return 0;
    },
  );

  constructor(rpc: RPC, options: { session: { id: number; gen: number } }) {
    super(rpc, options);
    this.session = this.registerDisposer(
      rpc.getRef<BackendSession>(options.session),
    );
    this.session.listeners.add(this);
    this.registerDisposer(() => {
      this.session.listeners.delete(this);
      this.refreshThrottle.cancel();
    });
  }

  override async download(
    chunk: VolumeChunk,
    signal: AbortSignal,
  ): Promise<void> {
    this.computeChunkBounds(chunk);
    const labels = this.session.summaries.chunk({
      level: this.parameters.level,
      gridZyx: gridZyxOf(chunk.chunkGridPosition),
    });
    await postProcessRawData(chunk, signal, labels);
  }

  invalidate(): void {}

  summariesChanged(keys: readonly SummaryKey[]): void {
    const extra = ",0".repeat(this.spec.rank - 3);
    for (const { level, gridZyx } of keys) {
      if (level !== this.parameters.level) continue;
      const [z, y, x] = gridZyx;
      this.changed.add(`${x},${y},${z}${extra}`);
    }
    if (this.changed.size > 0) this.refreshThrottle.schedule();
  }

  /**
   * Replaces delivered chunks without a flash: the new data is ready before the
   * old chunk is given up.
   */
  private async refresh(): Promise<void> {
    const keys = [...this.changed];
    this.changed.clear();
    const { queueManager } = this.chunkManager;
    const isDelivered = (chunk: VolumeChunk | undefined): boolean =>
      chunk !== undefined && chunk.state <= ChunkState.SYSTEM_MEMORY_WORKER;
    for (const key of keys) {
      const chunk = this.chunks.get(key) as VolumeChunk | undefined;
      if (chunk === undefined || !isDelivered(chunk)) continue;
      const fresh = makePrivateChunk(this, chunk.chunkGridPosition);
      await this.download(fresh, new AbortController().signal);
      if (this.chunks.get(key) !== chunk || !isDelivered(chunk)) continue;
      const onMainThread = chunk.state !== ChunkState.SYSTEM_MEMORY_WORKER;
      if (onMainThread) queueManager.freeChunkSystemMemory(chunk);
      chunk.data = fresh.data;
      chunk.chunkDataSize = fresh.chunkDataSize;
      if (onMainThread) {
        queueManager.updateChunkState(chunk, ChunkState.SYSTEM_MEMORY_WORKER);
      }
      const bytes = fresh.data?.byteLength ?? 0;
      chunk.systemMemoryBytes = bytes;
      chunk.gpuMemoryBytes = bytes;
    }
    queueManager.scheduleUpdate();
  }
}

registerSharedObject()(SummarySource);
