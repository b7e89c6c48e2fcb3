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
 * @file The JavaScript interface of the wasm module (crate `tu-web`).
 *
 * Arrays are C order `zyx`, x fastest; affinities are channel first,
 * `[3, z, y, x]`, channels z, y, x, quantised to 256 bins.  Every method that
 * fails throws an {@link EngineFailure}.
 */

/** What every failing call of the wasm module throws. */
export interface EngineFailure {
  readonly code: string;
  readonly message: string;
  /** What a user can do about it; may be empty. */
  readonly hint: string;
  readonly retryable: boolean;
}

export type DeviceRequest = "auto" | "webgpu" | "cpu";
export type DeviceKind = "webgpu" | "cpu";
/** The type of volumes within the network. */
export type Precision = "f32" | "f16";
export type PrecisionRequest = "auto" | Precision;

/** What the browser tells of its WebGPU adapter. */
export interface AdapterFacts {
  readonly description: string;
  /** The browser itself calls it a stand-in for a GPU. */
  readonly fallback: boolean;
}

/** The model file's metadata, as far as this package reads it. */
export interface ModelInfo {
  /** What was asked for, or f32 where the device does not offer it. */
  readonly precision: Precision;
  /** Why that is not the one asked for. */
  readonly precision_refused?: string;
  readonly parameters: number;
  readonly tile_zyx: readonly [number, number, number];
  readonly halo_zyx: readonly [number, number, number];
  readonly voxel_nm_zyx: readonly [number, number, number];
  readonly fragment_method: object;
  /** `quantile:Q`, `mean` or `max`, with a size weight as in `mean,size:0.06`. */
  readonly scoring: string;
  /** Merge while the score is below this. */
  readonly threshold: number;
}

/** The network on one device. */
export interface Engine {
  readonly backend: DeviceKind;
  readonly adapter: string;
  /** The device has 16-bit floats. */
  readonly offers_f16: boolean;
  /** On WebGPU the network has to give the known answer of its file. */
  load_model(
    bytes: Uint8Array,
    sha256: string,
    precision: Precision,
  ): Promise<ModelInfo>;
  /** Runs a window; throws {@link EngineFailure} if the answer is missed. */
  check_known_answer(): Promise<void>;
  /**
   * Affinities of one tile, `[3, z, y, x]` of the tile clipped to the volume.
   * @param data raw values of the part of the tile's window inside the volume
   * @param dtype_max largest value of the volume's data type (1 for f32)
   */
  affinities(
    volume_zyx: Float64Array,
    tile_index_zyx: Uint32Array,
    data: Float32Array,
    dtype_max: number,
  ): Promise<Uint8Array>;
  free(): void;
}

export interface SegmentationOptions {
  volume_zyx: readonly number[];
  tile_zyx: readonly number[];
  halo_zyx: readonly number[];
  fragment_method: object;
  scoring: string;
}

/** Fragments and the region graph of one volume. */
export interface Segmentation {
  tile_counts(): Float64Array;
  /** Adds a tile; returns its canonical fragment ids (clipped tile). */
  add_tile(
    index_zyx: Uint32Array,
    affinities: Uint8Array,
  ): BigUint64Array<ArrayBuffer>;
  remove_tile(index_zyx: Uint32Array): boolean;
  /** Flat pairs (fragment, root), root = smallest id, fragment ≠ root. */
  equivalences(threshold: number): BigUint64Array<ArrayBuffer>;
  tile_of_id(id: bigint): Float64Array | undefined;
  free(): void;
}

export interface WasmModule {
  /** Fetches and compiles `tu_web_bg.wasm`, found next to the module. */
  default(): Promise<unknown>;
  /** Throws the code `no_webgpu` where there is no adapter. */
  webgpu_adapter(): Promise<AdapterFacts>;
  readonly Engine: { create(device: DeviceKind): Promise<Engine> };
  readonly Segmentation: new (options: SegmentationOptions) => Segmentation;
}

/** True for the objects that the wasm module throws. */
export function isEngineFailure(x: unknown): x is EngineFailure {
  return (
    typeof x === "object" &&
    x !== null &&
    typeof (x as EngineFailure).code === "string" &&
    typeof (x as EngineFailure).message === "string"
  );
}
