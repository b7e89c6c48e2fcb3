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
 * @file The half of a layer's session that lives in Neuroglancer's chunk
 * worker: reads EM, drives the segmentation worker, publishes segments.
 */

import { registerRPC } from "neuroglancer/unstable/worker_rpc.js";
import {
  registerSharedObject,
  SharedObjectCounterpart,
} from "neuroglancer/unstable/worker_rpc.js";
import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
import type { VolumeChunkSource } from "neuroglancer/unstable/sliceview/volume/backend.js";
import type {
  EquivalencesMessage,
  Notice,
  SessionParameters,
  SessionPhase,
  SessionSettings,
  SessionStatus,
} from "./base.js";
import {
  EMPTY_COUNTS,
  EQUIVALENCES_RPC_ID,
  RETRY_RPC_ID,
  SESSION_RPC_ID,
  SETTINGS_RPC_ID,
  STATUS_RPC_ID,
} from "./base.js";
import { EmChunks } from "./em_chunks.js";
import { ImageReader } from "./image_reader.js";
import {
  deviceNotice,
  failureNotice,
  fallbackCause,
  precisionNotice,
  restartNotice,
} from "./notices.js";
import { retry } from "./retry.js";
import {
  SegmentationClient,
  SegmentationError,
} from "./segmentation_client.js";
import { SummaryPyramid } from "./summary_pyramid.js";
import type { SummaryKey } from "./summary_pyramid.js";
import { Throttle } from "./throttle.js";
import type { ModelInfo } from "./wasm_api.js";
import { readRegion, tileRegion } from "./zyx.js";
import type { Zyx } from "./zyx.js";

const EM_CACHE_BYTES = 256 * 2 ** 20;
const SUMMARY_CACHE_BYTES = 256 * 2 ** 20;
/** Equivalences are published at most three times a second. */
const PUBLISH_INTERVAL_MS = 334;
/** Agglomeration may take this part of the time. */
const PUBLISH_SHARE = 0.25;
const STATUS_INTERVAL_MS = 250;
const RECENT_TILES = 64;

interface SessionOptions {
  readonly parameters: SessionParameters;
  readonly settings: SessionSettings;
  readonly imageSource: { id: number; gen: number };
}

/** What a chunk source of the session has to do when asked. */
export interface SessionListener {
  /** Forget delivered chunks and ask for them again. */
  invalidate(): void;
  summariesChanged?(keys: readonly SummaryKey[]): void;
  /** Number of chunks that wait for their turn. */
  queued?(): number;
}

export class BackendSession extends SharedObjectCounterpart {
  readonly parameters: SessionParameters;
  readonly summaries: SummaryPyramid;
  readonly listeners = new Set<SessionListener>();
  private settings: SessionSettings;
  private readonly reader: ImageReader;
  private client: SegmentationClient;
  private phase: SessionPhase = "loading";
  private info: ModelInfo | undefined;
  private readonly counts = { ...EMPTY_COUNTS };
  private status: Omit<SessionStatus, "tiles" | "phase"> = {
    device: undefined,
    precision: "f32",
    adapter: "",
    fallback: "",
    modelBytes: 0,
    cachedBytes: 0,
    modelThreshold: undefined,
    notice: undefined,
    recentTiles: [],
  };
  private tilesChanged = false;
  private readonly statusThrottle = new Throttle(STATUS_INTERVAL_MS, () => {
    this.sendStatus();
  });
  private readonly publishThrottle = new Throttle(PUBLISH_INTERVAL_MS, () =>
    this.publishEquivalences(),
  );

  constructor(rpc: RPC, options: SessionOptions) {
    super(rpc, options);
    this.parameters = options.parameters;
    this.settings = options.settings;
    const imageSource = this.registerDisposer(
      rpc.getRef<VolumeChunkSource>(options.imageSource),
    );
    this.reader = new ImageReader(
      new EmChunks(imageSource, this.parameters.layout),
      EM_CACHE_BYTES,
    );
    this.summaries = new SummaryPyramid(
      this.parameters.grid,
      this.parameters.summaryFactorsZyx,
      SUMMARY_CACHE_BYTES,
    );
    this.client = this.makeClient();
    this.registerDisposer(() => {
      this.statusThrottle.cancel();
      this.publishThrottle.cancel();
      this.client.dispose();
    });
  }

  get concurrency(): number {
    return this.settings.concurrency;
  }

  setSettings(settings: SessionSettings): void {
    this.settings = settings;
    // Neither needs the network: agglomeration runs on the region graph.
    this.tilesChanged = true;
    this.publishThrottle.schedule();
  }

  /** Tries again what has failed; what has succeeded comes from the cache. */
  retry(): void {
    this.reader.clear();
    if (this.phase === "failed") {
      this.client.dispose();
      this.phase = "loading";
      this.note(undefined);
      this.client = this.makeClient();
    }
    this.invalidateAll();
    this.statusThrottle.schedule();
  }

  /** A chunk has left Neuroglancer's memory. */
  release(indexZyx: Zyx): void {
    this.client.release(indexZyx);
  }

  statusChanged(): void {
    this.statusThrottle.schedule();
  }

  /**
   * Labels a tile.
   * @param deliver takes the fragment ids, x fastest, clipped to the volume; the
   *   tile counts as done once it has
   */
  async segmentTile(
    indexZyx: Zyx,
    signal: AbortSignal,
    deliver: (labels: BigUint64Array<ArrayBuffer>) => Promise<void>,
  ): Promise<void> {
    const { counts } = this;
    ++counts.running;
    counts.maxRunning = Math.max(counts.maxRunning, counts.running);
    // An aborted tile stops counting before the one that takes its place starts.
    let counted = true;
    const leave = (): void => {
      if (counted) --counts.running;
      counted = false;
      this.statusThrottle.schedule();
    };
    signal.addEventListener("abort", leave, { once: true });
    this.statusThrottle.schedule();
    try {
      // Neuroglancer never retries a chunk that has failed.
      const labels = await retry(
        () => this.attempt(indexZyx, signal),
        (error) =>
          this.phase !== "failed" &&
          !(error instanceof SegmentationError && !error.failure.retryable),
        signal,
      );
      await deliver(labels);
      ++counts.done;
    } catch (error) {
      // The labels may be on their way already; nobody takes them.
      this.client.release(indexZyx);
      if (signal.aborted) ++counts.aborted;
      else {
        ++counts.failed;
        if (this.phase !== "failed") this.note(failureNotice(error));
      }
      throw error;
    } finally {
      leave();
    }
  }

  private async attempt(
    indexZyx: Zyx,
    signal: AbortSignal,
  ): Promise<BigUint64Array<ArrayBuffer>> {
    const { grid, dtypeMax } = this.parameters;
    const recalled = await this.client.request<"recall">(
      { type: "recall", indexZyx },
      signal,
    );
    if (recalled.labels !== null) {
      ++this.counts.reused;
      return this.finish(indexZyx, recalled.labels);
    }
    const { values, empty } = await this.reader.read(
      readRegion(grid, indexZyx),
      signal,
    );
    const region = tileRegion(grid, indexZyx);
    if (empty) {
      // A store that lacks every chunk looks the same as one that cannot be
      // reached; segmenting the fill value would invent neurons.
      ++this.counts.empty;
      const [z, y, x] = region.shapeZyx;
      return new BigUint64Array(z * y * x);
    }
    const { labels, cachedBytes } = await this.client.request<"segment">(
      { type: "segment", indexZyx, values, dtypeMax },
      signal,
      [values.buffer],
    );
    if (labels === null) throw new Error("The tile was cancelled.");
    ++this.counts.inferred;
    this.status = {
      ...this.status,
      cachedBytes,
      recentTiles: [...this.status.recentTiles, indexZyx].slice(-RECENT_TILES),
    };
    return this.finish(indexZyx, labels);
  }

  private finish(
    indexZyx: Zyx,
    labels: BigUint64Array<ArrayBuffer>,
  ): BigUint64Array<ArrayBuffer> {
    const changed = this.summaries.addTile(
      tileRegion(this.parameters.grid, indexZyx),
      labels,
    );
    for (const listener of this.listeners) listener.summariesChanged?.(changed);
    this.tilesChanged = true;
    this.publishThrottle.schedule();
    return labels;
  }

  private makeClient(): SegmentationClient {
    const { model, device, precision, grid } = this.parameters;
    return new SegmentationClient(
      { type: "open", model, device, precision, grid },
      {
        onOpened: ({ info, device: kind, adapter, gpuRefused }) => {
          this.info = info;
          this.phase = "ready";
          this.status = {
            ...this.status,
            device: kind,
            precision: info.precision,
            adapter,
            fallback: fallbackCause(device, kind, gpuRefused, info),
            modelThreshold: info.threshold,
          };
          this.note(
            deviceNotice(device, kind, gpuRefused) ?? precisionNotice(info),
          );
          this.publishThrottle.schedule();
        },
        onModelBytes: (modelBytes) => {
          this.status = { ...this.status, modelBytes };
          this.statusThrottle.schedule();
        },
        onRestart: (failure, nextDevice) => {
          this.phase = "loading";
          this.note(restartNotice(failure, nextDevice));
          // The region graph went with the worker.
          this.invalidateAll();
        },
        onFailed: (failure) => {
          this.phase = "failed";
          this.note(failureNotice(new SegmentationError(failure)));
        },
      },
    );
  }

  private invalidateAll(): void {
    for (const listener of this.listeners) listener.invalidate();
  }

  private note(notice: Notice | undefined): void {
    this.status = { ...this.status, notice };
    this.statusThrottle.schedule();
  }

  private sendStatus(): void {
    let queued = 0;
    for (const listener of this.listeners) queued += listener.queued?.() ?? 0;
    const status: SessionStatus = {
      ...this.status,
      cachedBytes: this.status.cachedBytes + this.reader.cachedBytes,
      phase: this.phase,
      tiles: { ...this.counts, queued },
    };
    this.rpc?.invoke(STATUS_RPC_ID, { id: this.rpcId, status });
  }

  /** @returns milliseconds to wait before the next time */
  private async publishEquivalences(): Promise<number> {
    const { info, settings } = this;
    if (info === undefined || !this.tilesChanged) return 0;
    this.tilesChanged = false;
    try {
      const answer = await this.client.request<"agglomerate">({
        type: "agglomerate",
        threshold: settings.threshold ?? info.threshold,
        splits: settings.splits,
      });
      const message: EquivalencesMessage = {
        pairs: answer.pairs,
        impossible: answer.impossible,
        generation: settings.generation,
      };
      this.rpc?.invoke(EQUIVALENCES_RPC_ID, { id: this.rpcId, ...message }, [
        answer.pairs.buffer,
      ]);
      return answer.milliseconds / PUBLISH_SHARE;
    } catch (error) {
      if (this.phase === "ready") this.note(failureNotice(error));
      return 0;
    }
  }
}

registerSharedObject(SESSION_RPC_ID)(BackendSession);

registerRPC(
  SETTINGS_RPC_ID,
  function (x: { id: number; settings: SessionSettings }) {
    (this.get(x.id) as BackendSession | undefined)?.setSettings(x.settings);
  },
);

registerRPC(RETRY_RPC_ID, function (x: { id: number }) {
  (this.get(x.id) as BackendSession | undefined)?.retry();
});
