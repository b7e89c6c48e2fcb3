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
 * @file Declarations for those modules of neuroglancer 2.41.2 that are
 * published without any.  Only the members that this package uses are listed.
 * The `#src/…` twins make Neuroglancer's own declaration files see the same
 * classes.
 */

declare module "neuroglancer/unstable/chunk_manager/backend.js" {
  import type {
    ChunkPriorityTier,
    ChunkSourceParametersConstructor,
    ChunkState,
  } from "neuroglancer/unstable/chunk_manager/base.js";
  import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
  import { SharedObject } from "neuroglancer/unstable/worker_rpc.js";

  export class Chunk {
    key: string | null;
    source: ChunkSourceBase | null;
    error: unknown;
    state: ChunkState;
    priority: number;
    priorityTier: ChunkPriorityTier;
    systemMemoryBytes: number;
    gpuMemoryBytes: number;
    isComputational: boolean;
    initialize(key: string): void;
    dispose(): void;
  }
  export interface AvailableCapacity {
    readonly itemLimit: { readonly value: number };
  }
  export interface ChunkQueueManager {
    readonly computeCapacity: AvailableCapacity;
    updateChunkState(chunk: Chunk, newState: ChunkState): void;
    freeChunkSystemMemory(chunk: Chunk): void;
    retrieveChunkData(chunk: Chunk): Promise<unknown>;
    invalidateSourceCache(source: ChunkSourceBase): void;
    scheduleUpdate(): void;
  }
  export interface ChunkManager {
    readonly queueManager: ChunkQueueManager;
    scheduleUpdateChunkPriorities(): void;
  }
  export class ChunkSourceBase extends SharedObject {
    chunkManager: ChunkManager;
    chunks: Map<string, Chunk>;
    constructor(chunkManager: ChunkManager);
  }
  export class ChunkSource extends ChunkSourceBase {
    constructor(rpc: RPC, options: unknown);
    chunkStateChanged(chunk: Chunk, oldState: ChunkState): void;
  }
  export function WithParameters<
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- TypeScript demands it of mixins
    Base extends new (...args: any[]) => SharedObject,
    Parameters,
  >(
    base: Base,
    parametersConstructor: ChunkSourceParametersConstructor<Parameters>,
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  ): Base & (new (...args: any[]) => { readonly parameters: Parameters });
}

declare module "neuroglancer/unstable/chunk_manager/frontend.js" {
  import type {
    ChunkSourceParametersConstructor,
    ChunkState,
  } from "neuroglancer/unstable/chunk_manager/base.js";
  import type { GL } from "neuroglancer/unstable/webgl/context.js";
  import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
  import { SharedObject } from "neuroglancer/unstable/worker_rpc.js";

  export class Chunk {
    source: ChunkSource;
    state: ChunkState;
    constructor(source: ChunkSource);
  }
  export class ChunkQueueManager extends SharedObject {
    readonly gl: GL;
    constructor(
      rpc: RPC,
      gl: GL,
      frameNumberCounter: unknown,
      capacities: unknown,
    );
  }
  export interface ChunkSourceConstructor<
    Options,
    Source extends ChunkSource = ChunkSource,
  > {
    new (chunkManager: ChunkManager, options: Options): Source;
    encodeOptions(options: Options): Record<string, unknown>;
  }
  export class ChunkManager extends SharedObject {
    readonly chunkQueueManager: ChunkQueueManager;
    constructor(chunkQueueManager: ChunkQueueManager);
    getChunkSource<Options, Source extends ChunkSource>(
      constructorFunction: ChunkSourceConstructor<Options, Source>,
      options: Options,
    ): Source;
  }
  export class ChunkSource extends SharedObject {
    chunkManager: ChunkManager;
    chunks: Map<string, Chunk>;
    key: unknown;
    constructor(chunkManager: ChunkManager, options?: unknown);
    initializeCounterpart(rpc: RPC, options: Record<string, unknown>): void;
    invalidateCache(): void;
    static encodeOptions(options: unknown): Record<string, unknown>;
  }
  export function WithParameters<
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- TypeScript demands it of mixins
    Base extends new (...args: any[]) => SharedObject,
    Parameters,
  >(
    base: Base,
    parametersConstructor: ChunkSourceParametersConstructor<Parameters>,
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  ): Base & (new (...args: any[]) => { readonly parameters: Parameters });
}

declare module "neuroglancer/unstable/sliceview/backend.js" {
  import {
    Chunk,
    ChunkSource,
  } from "neuroglancer/unstable/chunk_manager/backend.js";
  import type { SliceViewChunkSpecification } from "neuroglancer/unstable/sliceview/base.js";

  export class SliceViewChunk extends Chunk {
    chunkGridPosition: Float32Array;
    initializeVolumeChunk(key: string, chunkGridPosition: Float32Array): void;
  }
  export class SliceViewChunkSourceBackend extends ChunkSource {
    spec: SliceViewChunkSpecification;
    chunkConstructor: new () => SliceViewChunk;
    getChunk(chunkGridPosition: Float32Array): SliceViewChunk;
    download(chunk: Chunk, signal: AbortSignal): Promise<void>;
  }
}

declare module "neuroglancer/unstable/sliceview/frontend.js" {
  import type { ChunkManager } from "neuroglancer/unstable/chunk_manager/frontend.js";
  import {
    Chunk,
    ChunkSource,
  } from "neuroglancer/unstable/chunk_manager/frontend.js";
  import type {
    SliceViewChunkSpecification,
    SliceViewSourceOptions,
  } from "neuroglancer/unstable/sliceview/base.js";

  export class SliceViewChunk extends Chunk {
    chunkGridPosition: Float32Array;
  }
  export class SliceViewChunkSource<
    Spec extends SliceViewChunkSpecification = SliceViewChunkSpecification,
    ChunkType extends SliceViewChunk = SliceViewChunk,
  > extends ChunkSource {
    spec: Spec;
    fetchChunk<T>(
      chunkGridPosition: Float32Array,
      transform: (chunk: ChunkType) => T,
      options: { signal?: AbortSignal },
    ): Promise<T>;
  }
  export interface SliceViewSingleResolutionSource<
    Source extends SliceViewChunkSource = SliceViewChunkSource,
  > {
    chunkSource: Source;
    /** Homogeneous, column-major, `(rank + 1)²`. */
    chunkToMultiscaleTransform: Float32Array;
    lowerClipBound?: Float32Array;
    upperClipBound?: Float32Array;
  }
  export abstract class MultiscaleSliceViewChunkSource<
    Source extends SliceViewChunkSource = SliceViewChunkSource,
    SourceOptions extends SliceViewSourceOptions = SliceViewSourceOptions,
  > {
    chunkManager: ChunkManager;
    constructor(chunkManager: ChunkManager);
    abstract get rank(): number;
    abstract getSources(
      options: SourceOptions,
    ): SliceViewSingleResolutionSource<Source>[][];
  }
}

declare module "neuroglancer/unstable/layer/segmentation/index.js" {
  import { UserLayer } from "neuroglancer/unstable/layer/index.js";
  import type { VisibleSegmentsState } from "neuroglancer/unstable/segmentation_display_state/base.js";
  import type { SegmentationGraphSource } from "neuroglancer/unstable/segmentation_graph/source.js";
  import type { WatchableValueInterface } from "neuroglancer/unstable/trackable_value.js";
  import type { Uint64Set } from "neuroglancer/unstable/uint64_set.js";

  export interface SegmentationGroupState extends VisibleSegmentsState {
    readonly graph: WatchableValueInterface<
      SegmentationGraphSource | undefined
    >;
    readonly selectedSegments: VisibleSegmentsState["selectedSegments"];
    readonly visibleSegments: Uint64Set;
  }
  export class SegmentationUserLayer extends UserLayer {
    displayState: {
      readonly segmentationGroupState: WatchableValueInterface<SegmentationGroupState>;
    };
  }
}

declare module "#src/chunk_manager/backend.js" {
  export * from "neuroglancer/unstable/chunk_manager/backend.js";
}
declare module "#src/chunk_manager/frontend.js" {
  export * from "neuroglancer/unstable/chunk_manager/frontend.js";
}
declare module "#src/sliceview/backend.js" {
  export * from "neuroglancer/unstable/sliceview/backend.js";
}
declare module "#src/sliceview/frontend.js" {
  export * from "neuroglancer/unstable/sliceview/frontend.js";
}
declare module "#src/layer/segmentation/index.js" {
  export * from "neuroglancer/unstable/layer/segmentation/index.js";
}

/** The generated wasm module is absent until `cargo xtask web` has run. */
declare module "*/wasm/tu_web.js" {
  const moduleExports: unknown;
  export = moduleExports;
}
