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
 * @file What a user is told when something is not as it should be.
 */

import type { Notice } from "./base.js";
import type {
  DeviceKind,
  DeviceRequest,
  EngineFailure,
  ModelInfo,
} from "./wasm_api.js";

const NO_GPU = "WebGPU is not available in this browser";

/** Why device or precision are not the fastest ones; empty if they are. */
export function fallbackCause(
  requested: DeviceRequest,
  device: DeviceKind,
  gpuRefused: string,
  { precision_refused: precisionRefused = "" }: ModelInfo,
): string {
  if (device === "webgpu") return precisionRefused;
  if (requested === "cpu") return "";
  return gpuRefused === "" ? NO_GPU : gpuRefused;
}

/** After a device was found: a word if it is not the fast one. */
export function deviceNotice(
  requested: DeviceRequest,
  device: DeviceKind,
  gpuRefused: string,
): Notice | undefined {
  if (device === "webgpu" || requested === "cpu") return undefined;
  const cause =
    gpuRefused === "" ? NO_GPU : `The GPU is not used: ${gpuRefused}`;
  const remedy =
    gpuRefused === ""
      ? " Use a current browser on https:// or localhost, and check its graphics settings."
      : "";
  return {
    severity: "warning",
    text: `${cause}; segmenting on the CPU, which is slow.${remedy}`,
  };
}

/** After a model was loaded: why it runs in f32 where 16 bits were asked for. */
export function precisionNotice({
  precision,
  precision_refused: refused,
}: ModelInfo): Notice | undefined {
  if (refused === undefined) return undefined;
  return {
    severity: "info",
    text: `The network runs in ${precision}: ${refused}.`,
  };
}

export function restartNotice(
  failure: EngineFailure,
  device: DeviceRequest,
): Notice {
  const next = device === "cpu" ? "on the CPU" : "once more";
  return {
    severity: "warning",
    text: `The device was lost (${failure.message}); starting ${next}.`,
  };
}

export function failureNotice(error: unknown): Notice {
  const text = error instanceof Error ? error.message : String(error);
  // Neuroglancer's encoder of labels is generated code.
  const hint = /async computation operation .* is not registered/.test(text)
    ? " The page's Content-Security-Policy has to allow 'unsafe-eval' for Neuroglancer."
    : "";
  return { severity: "error", text: text + hint };
}
