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
 * @file The label volume on the main thread: its scales and chunk sources.
 *
 * Scale 0 is computed, one chunk per tile of the model, from that scale of the
 * EM volume which is nearest to the model's voxel size.  Coarser scales are
 * summaries of finished tiles.
 */

import type { ChunkManager } from "neuroglancer/unstable/chunk_manager/frontend.js";
import { WithParameters } from "neuroglancer/unstable/chunk_manager/frontend.js";
import type { SliceViewSingleResolutionSource } from "neuroglancer/unstable/sliceview/frontend.js";
import type {
  VolumeChunkSpecification,
  VolumeSourceOptions,
} from "neuroglancer/unstable/sliceview/volume/base.js";
import {
  DataType,
  makeVolumeChunkSpecification,
  VolumeType,
} from "neuroglancer/unstable/sliceview/volume/base.js";
import {
  MultiscaleVolumeChunkSource,
  VolumeChunkSource,
} from "neuroglancer/unstable/sliceview/volume/frontend.js";
import { vec3 } from "neuroglancer/unstable/util/geom.js";
import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
import { labelToModel } from "./axis_mapping.js";
import { LabelSourceParameters, SummarySourceParameters } from "./base.js";
import { configuration } from "./configuration.js";
import type { EmVolume } from "./em_volume.js";
import type { FrontendSession } from "./session_frontend.js";
import type { Zyx } from "./zyx.js";
import { mapZyx } from "./zyx.js";

interface SourceOptions<Parameters> {
  readonly spec: VolumeChunkSpecification;
  readonly parameters: Parameters;
  readonly session: FrontendSession;
}

/** A chunk source that keeps its session alive and tells the worker of it. */
class SessionChunkSource extends VolumeChunkSource {
  readonly session: FrontendSession;

  constructor(chunkManager: ChunkManager, options: SourceOptions<unknown>) {
    super(chunkManager, options);
    this.session = this.registerDisposer(options.session.addRef());
  }

  override initializeCounterpart(
    rpc: RPC,
    options: Record<string, unknown>,
  ): void {
    options["session"] = this.session.addCounterpartRef();
    super.initializeCounterpart(rpc, options);
  }

  static override encodeOptions(
    options: SourceOptions<unknown>,
  ): Record<string, unknown> {
    return {
      ...VolumeChunkSource.encodeOptions(options),
      session: options.session.rpcId,
    };
  }
}

export class LabelSource extends WithParameters(
  SessionChunkSource,
  LabelSourceParameters,
) {}

export class SummarySource extends WithParameters(
  SessionChunkSource,
  SummarySourceParameters,
) {}

const xyz = (zyx: Zyx): number[] => [zyx[2], zyx[1], zyx[0]];

export class LabelVolume extends MultiscaleVolumeChunkSource {
  readonly dataType = DataType.UINT64;
  readonly volumeType = VolumeType.SEGMENTATION;

  /** @param acquireSession gives a reference that the caller must release */
  constructor(
    chunkManager: ChunkManager,
    private readonly em: EmVolume,
    private readonly acquireSession: () => FrontendSession,
  ) {
    super(chunkManager);
  }

  get rank(): number {
    return this.em.layout.rank;
  }

  getSources(
    _options: VolumeSourceOptions,
  ): SliceViewSingleResolutionSource<VolumeChunkSource>[][] {
    const session = this.acquireSession();
    try {
      const { grid, summaryFactorsZyx } = session.parameters;
      const transform = (factorZyx?: Zyx): Float32Array =>
        labelToModel(this.em.layout, this.em.scale.chunkToModel, factorZyx);
      const labels = {
        chunkSource: this.chunkManager.getChunkSource(LabelSource, {
          spec: this.specification(grid.volumeZyx, grid.tileZyx),
          parameters: new LabelSourceParameters(),
          session,
        }),
        chunkToMultiscaleTransform: transform(),
      };
      const summaries = summaryFactorsZyx.map((factorZyx, level) => ({
        chunkSource: this.chunkManager.getChunkSource(SummarySource, {
          spec: this.specification(
            mapZyx((i) => Math.ceil(grid.volumeZyx[i] / factorZyx[i])),
            grid.tileZyx,
          ),
          parameters: Object.assign(new SummarySourceParameters(), { level }),
          session,
        }),
        chunkToMultiscaleTransform: transform(factorZyx),
        // The last coarse voxels stick out of the volume.
        upperClipBound: Float32Array.from([
          ...xyz(mapZyx((i) => grid.volumeZyx[i] / factorZyx[i])),
          ...new Array<number>(this.rank - 3).fill(1),
        ]),
      }));
      return [[labels, ...summaries]];
    } finally {
      session.dispose();
    }
  }

  private specification(
    volumeZyx: Zyx,
    chunkZyx: Zyx,
  ): VolumeChunkSpecification {
    const { rank } = this;
    const ones = new Array<number>(rank - 3).fill(1);
    // A block size that does not depend on the view, so that all views share
    // one source and no tile is segmented twice.
    const blockSize = vec3.fromValues(8, 8, 8);
    return makeVolumeChunkSpecification({
      rank,
      dataType: DataType.UINT64,
      chunkDataSize: Uint32Array.from([...xyz(chunkZyx), ...ones]),
      upperVoxelBound: Float32Array.from([...xyz(volumeZyx), ...ones]),
      ...(configuration().compressLabels
        ? { compressedSegmentationBlockSize: blockSize }
        : {}),
    });
  }
}
