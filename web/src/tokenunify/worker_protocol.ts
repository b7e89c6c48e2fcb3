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
 * @file Messages between Neuroglancer's chunk worker and our segmentation
 * worker.  Requests carry a number that the answer repeats; `cancel` and
 * `release` have no answer.
 */

import type { ModelEntry } from "./manifest.js";
import type { FragmentPair } from "./options.js";
import type {
  DeviceKind,
  DeviceRequest,
  EngineFailure,
  ModelInfo,
  PrecisionRequest,
} from "./wasm_api.js";
import type { TileGrid, Zyx } from "./zyx.js";

export interface OpenRequest {
  readonly type: "open";
  readonly model: ModelEntry;
  readonly device: DeviceRequest;
  readonly precision: PrecisionRequest;
  readonly grid: TileGrid;
}

/** Labels of a tile whose affinities are kept; `labels` is null if not. */
export interface RecallRequest {
  readonly type: "recall";
  readonly indexZyx: Zyx;
}

/** Runs the network on a tile and labels it. */
export interface SegmentRequest {
  readonly type: "segment";
  readonly indexZyx: Zyx;
  /** The part of the tile's window inside the volume, zyx. */
  readonly values: Float32Array<ArrayBuffer>;
  readonly dtypeMax: number;
}

export interface AgglomerateRequest {
  readonly type: "agglomerate";
  readonly threshold: number;
  readonly splits: readonly FragmentPair[];
}

export interface OpenAnswer {
  readonly info: ModelInfo;
  readonly device: DeviceKind;
  readonly adapter: string;
  /** Why the GPU that is there is not used; empty if it is, or there is none. */
  readonly gpuRefused: string;
}

export interface TileAnswer {
  readonly labels: BigUint64Array<ArrayBuffer> | null;
  readonly cachedBytes: number;
}

export interface AgglomerateAnswer {
  readonly pairs: BigUint64Array<ArrayBuffer>;
  readonly impossible: readonly FragmentPair[];
  readonly milliseconds: number;
}

/** Each request type with its request and answer. */
export interface RequestTypes {
  open: { request: OpenRequest; answer: OpenAnswer };
  recall: { request: RecallRequest; answer: TileAnswer };
  segment: { request: SegmentRequest; answer: TileAnswer };
  agglomerate: { request: AgglomerateRequest; answer: AgglomerateAnswer };
}
export type RequestType = keyof RequestTypes;

export type ToWorker =
  | {
      [T in RequestType]: {
        readonly kind: "request";
        readonly job: number;
        readonly request: RequestTypes[T]["request"];
      };
    }[RequestType]
  | { readonly kind: "cancel"; readonly job: number }
  /** The viewer no longer holds this tile's labels. */
  | { readonly kind: "release"; readonly indexZyx: Zyx };

export type FromWorker =
  | {
      readonly kind: "answer";
      readonly job: number;
      readonly answer: RequestTypes[RequestType]["answer"];
    }
  | {
      readonly kind: "failure";
      readonly job: number;
      readonly failure: EngineFailure;
    }
  | { readonly kind: "model"; readonly bytes: number };

/** Failure codes of this package; the wasm module has its own. */
export const WORKER_LOST = "worker_lost";
export const MODEL_UNREACHABLE = "model_unreachable";
export const MODEL_REFUSED = "model_refused";
export const NO_DEVICE = "no_device";

/** A run of the network failed; a lost device shows itself this way. */
export const NETWORK_FAILED = "network";

/** The browser has no adapter. */
export const NO_WEBGPU = "no_webgpu";
/** The network misses its known answer on the GPU. */
export const GPU_WRONG = "gpu_wrong";

/** The GPU cannot be used for this model, but the CPU may. */
export const GPU_REFUSALS: readonly string[] = [
  "device",
  GPU_WRONG,
  "tile_too_large",
];
