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
 * @file What the main thread and Neuroglancer's chunk worker share: the scheme,
 * RPC names and the messages between the two halves.
 */

import type { VolumeLayout } from "./axis_mapping.js";
import type { ModelEntry } from "./manifest.js";
import type { FragmentPair } from "./options.js";
import type {
  DeviceKind,
  DeviceRequest,
  Precision,
  PrecisionRequest,
} from "./wasm_api.js";
import type { TileGrid, Zyx } from "./zyx.js";

export const SCHEME = "tokenunify";
export const DESCRIPTION = "Neurons segmented in this browser by TokenUnify";

export const SESSION_RPC_ID = "tokenunify/Session";
export const STATUS_RPC_ID = "tokenunify.status";
export const EQUIVALENCES_RPC_ID = "tokenunify.equivalences";
export const SETTINGS_RPC_ID = "tokenunify.settings";
export const RETRY_RPC_ID = "tokenunify.retry";

/** Ties the two halves of the label source together. */
export class LabelSourceParameters {
  static readonly RPC_ID = "tokenunify/LabelSource";
}

/** Ties the two halves of a summary scale together. */
export class SummarySourceParameters {
  static readonly RPC_ID = "tokenunify/SummarySource";
  /** Index into {@link SessionParameters.summaryFactorsZyx}. */
  level!: number;
}

/** What a session is created with; fixed for its life. */
export interface SessionParameters {
  readonly layout: VolumeLayout;
  readonly grid: TileGrid;
  readonly model: ModelEntry;
  readonly device: DeviceRequest;
  readonly precision: PrecisionRequest;
  /** Largest value of the EM data type, 1 for f32. */
  readonly dtypeMax: number;
  readonly summaryFactorsZyx: readonly Zyx[];
}

/** What can change while a session runs; no change needs new inference. */
export interface SessionSettings {
  readonly threshold: number | undefined;
  readonly concurrency: number;
  readonly splits: readonly FragmentPair[];
  /** Raised by the sender; comes back with the equivalences it led to. */
  readonly generation: number;
}

export interface TileCounts {
  readonly queued: number;
  readonly running: number;
  /** Tiles delivered to the viewer, from the network or from the cache. */
  readonly done: number;
  /** Runs of the network. */
  readonly inferred: number;
  /** Tiles whose labels were rebuilt from kept affinities. */
  readonly reused: number;
  readonly aborted: number;
  readonly failed: number;
  /** Tiles of which the store holds no chunk; they stay unlabelled. */
  readonly empty: number;
  /** Largest number of tiles in work at once. */
  readonly maxRunning: number;
}

export type SessionPhase = "starting" | "loading" | "ready" | "failed";

/** A message for people: what happened and what to do about it. */
export interface Notice {
  readonly severity: "info" | "warning" | "error";
  readonly text: string;
}

export interface SessionStatus {
  readonly phase: SessionPhase;
  readonly device: DeviceKind | undefined;
  readonly precision: Precision;
  readonly adapter: string;
  /** Why device or precision are not the fastest ones; empty if they are. */
  readonly fallback: string;
  /** Bytes of the model received so far. */
  readonly modelBytes: number;
  readonly tiles: TileCounts;
  /** Affinities and EM chunks kept, in bytes. */
  readonly cachedBytes: number;
  /** The model's own threshold, once it is known. */
  readonly modelThreshold: number | undefined;
  readonly notice: Notice | undefined;
  /** Tiles of the last runs of the network, newest last. */
  readonly recentTiles: readonly Zyx[];
}

export const EMPTY_COUNTS: TileCounts = {
  queued: 0,
  running: 0,
  done: 0,
  inferred: 0,
  reused: 0,
  aborted: 0,
  failed: 0,
  empty: 0,
  maxRunning: 0,
};

export const INITIAL_STATUS: SessionStatus = {
  phase: "starting",
  device: undefined,
  precision: "f32",
  adapter: "",
  fallback: "",
  modelBytes: 0,
  tiles: EMPTY_COUNTS,
  cachedBytes: 0,
  modelThreshold: undefined,
  notice: undefined,
  recentTiles: [],
};

/** The automatic segments as they now are. */
export interface EquivalencesMessage {
  readonly pairs: BigUint64Array<ArrayBuffer>;
  readonly impossible: readonly FragmentPair[];
  readonly generation: number;
}
