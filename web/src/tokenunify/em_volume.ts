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
 * @file The wrapped EM volume: checked, and reduced to the one scale that is
 * segmented.
 */

import type {
  DataSourceWithRedirectInfo,
  DataSubsourceEntry,
} from "neuroglancer/unstable/datasource/index.js";
import type { SliceViewSingleResolutionSource } from "neuroglancer/unstable/sliceview/frontend.js";
import type { VolumeSourceOptions } from "neuroglancer/unstable/sliceview/volume/base.js";
import {
  DataType,
  VolumeType,
} from "neuroglancer/unstable/sliceview/volume/base.js";
import type {
  MultiscaleVolumeChunkSource,
  VolumeChunkSource,
} from "neuroglancer/unstable/sliceview/volume/frontend.js";
import type {
  ModelSpace,
  ScaleDescription,
  VolumeLayout,
} from "./axis_mapping.js";
import { nearestScale, volumeLayout, voxelNmZyx } from "./axis_mapping.js";
import type { Zyx } from "./zyx.js";

/** Largest value of each data type that EM comes in; 1 for f32. */
const DTYPE_MAX: ReadonlyMap<DataType, number> = new Map([
  [DataType.UINT8, 255],
  [DataType.UINT16, 65535],
  [DataType.FLOAT32, 1],
]);

export class EmVolume {
  private constructor(
    private readonly source: MultiscaleVolumeChunkSource,
    private readonly options: VolumeSourceOptions,
    private readonly scaleIndex: number,
    readonly scale: ScaleDescription,
    readonly layout: VolumeLayout,
    readonly voxelNmZyx: Zyx | undefined,
    readonly dtypeMax: number,
  ) {}

  /**
   * @param entry the subsource of `inner` that holds the volume
   * @param modelVoxelNmZyx voxel size that the model was trained at
   * @throws Error that names the volume and what is wrong with it
   */
  static describe(
    url: string,
    inner: DataSourceWithRedirectInfo,
    entry: DataSubsourceEntry,
    modelVoxelNmZyx: Zyx,
  ): EmVolume {
    const source = entry.subsource.volume;
    if (source === undefined) throw new Error(`${url} has no volume.`);
    const dtypeMax = DTYPE_MAX.get(source.dataType);
    if (
      dtypeMax === undefined ||
      source.volumeType === VolumeType.SEGMENTATION
    ) {
      throw new Error(
        `${url} holds ${DataType[source.dataType]?.toLowerCase()} ` +
          `${source.volumeType === VolumeType.SEGMENTATION ? "segments" : "values"}: ` +
          `a label volume where an EM image (uint8, uint16 or float32) is expected. ` +
          `Give the URL of the image.`,
      );
    }
    const space = modelSpace(inner, entry, source.rank);
    const options = viewIndependentOptions(source.rank);
    const [orientation] = source.getSources(options);
    if (orientation === undefined || orientation.length === 0) {
      throw new Error(`${url} has no scales.`);
    }
    const described = orientation.map((single) => {
      const scale = describeScale(single);
      single.chunkSource.dispose();
      const layout = volumeLayout(scale, space.names);
      return { scale, layout, voxelNm: voxelNmZyx(layout, scale, space) };
    });
    const scaleIndex = nearestScale(
      described.map(({ voxelNm }) => voxelNm),
      modelVoxelNmZyx,
    );
    const chosen = described[scaleIndex];
    if (chosen === undefined) throw new Error(`${url} has no scales.`);
    return new EmVolume(
      source,
      options,
      scaleIndex,
      chosen.scale,
      chosen.layout,
      chosen.voxelNm,
      dtypeMax,
    );
  }

  /** The chunk source of the chosen scale; the caller owns the reference. */
  acquireChunkSource(): VolumeChunkSource {
    const [orientation] = this.source.getSources(this.options);
    let chosen: VolumeChunkSource | undefined;
    orientation?.forEach(({ chunkSource }, index) => {
      if (index === this.scaleIndex) chosen = chunkSource;
      else chunkSource.dispose();
    });
    if (chosen === undefined) throw new Error("The EM volume has gone.");
    return chosen;
  }
}

/** Asks for the same chunks whatever view they are for. */
function viewIndependentOptions(rank: number): VolumeSourceOptions {
  const displayRank = Math.min(rank, 3);
  const multiscaleToViewTransform = new Float32Array(displayRank * rank);
  for (let d = 0; d < displayRank; ++d) {
    multiscaleToViewTransform[d * displayRank + d] = 1;
  }
  return {
    displayRank,
    multiscaleToViewTransform,
    modelChannelDimensionIndices: [],
    discreteValues: false,
  };
}

function describeScale(
  single: SliceViewSingleResolutionSource<VolumeChunkSource>,
): ScaleDescription {
  const { spec } = single.chunkSource;
  return {
    rank: spec.rank,
    lowerVoxelBound: spec.lowerVoxelBound,
    upperVoxelBound: spec.upperVoxelBound,
    chunkToModel: single.chunkToMultiscaleTransform,
  };
}

/** The dimensions that the volume's multiscale space maps to. */
function modelSpace(
  inner: DataSourceWithRedirectInfo,
  entry: DataSubsourceEntry,
  rank: number,
): ModelSpace {
  const { inputSpace } = inner.modelTransform;
  const indices =
    entry.modelSubspaceDimensionIndices ??
    Array.from({ length: rank }, (_, i) => i);
  return {
    names: indices.map((i) => inputSpace.names[i] ?? ""),
    scales: indices.map((i) => inputSpace.scales[i] ?? 1),
    units: indices.map((i) => inputSpace.units[i] ?? ""),
  };
}
