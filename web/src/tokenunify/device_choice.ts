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
 * @file Which device and which type of volumes a layer gets, as rules without
 * side effects.
 */

import type {
  AdapterFacts,
  DeviceKind,
  DeviceRequest,
  Precision,
  PrecisionRequest,
} from "./wasm_api.js";

/** Names of processors that stand in for a GPU. */
const SOFTWARE =
  /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b/i;

/** Whether an adapter is a program on the processor and no GPU. */
export function isSoftwareAdapter({
  description,
  fallback,
}: AdapterFacts): boolean {
  return fallback || SOFTWARE.test(description);
}

export interface DeviceChoice {
  readonly device: DeviceKind;
  /** Why the adapter that is there is not used; empty if it is, or there is none. */
  readonly gpuRefused: string;
}

/**
 * "auto" is the GPU. A software adapter would run the GPU's kernels on the
 * processor, several times slower than those written for it.
 * @param adapter undefined: there is none; asked for with "auto" only
 */
export function chooseDevice(
  requested: DeviceRequest,
  adapter: AdapterFacts | undefined,
): DeviceChoice {
  if (requested !== "auto") return { device: requested, gpuRefused: "" };
  if (adapter === undefined) return { device: "cpu", gpuRefused: "" };
  if (!isSoftwareAdapter(adapter)) return { device: "webgpu", gpuRefused: "" };
  return {
    device: "cpu",
    gpuRefused: `${adapter.description} is a software adapter, slower than the CPU itself`,
  };
}

/**
 * "auto" is f16 where the device has it; the engine goes back to f32 if the
 * network misses its known answer in f16.
 */
export function choosePrecision(
  requested: PrecisionRequest,
  offersF16: boolean,
): Precision {
  if (requested !== "auto") return requested;
  return offersF16 ? "f16" : "f32";
}
