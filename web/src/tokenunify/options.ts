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
 * @file The options of a TokenUnify layer and their JSON form (`source.state`).
 */

import type { DeviceRequest, PrecisionRequest } from "./wasm_api.js";

/** Two fragments; ids are canonical fragment ids. */
export type FragmentPair = readonly [a: bigint, b: bigint];

export interface TokenUnifyOptions {
  /** Model id of the manifest, or a model or manifest URL; undefined: default. */
  readonly model: string | undefined;
  /** Merge while the score is below this; undefined: the model's own. */
  readonly threshold: number | undefined;
  /** Tiles in work at the same time. */
  readonly concurrency: number;
  readonly device: DeviceRequest;
  /** f16 is used where the GPU offers it, f32 elsewhere; auto means f16. */
  readonly precision: PrecisionRequest;
  /** Fragments that the user has joined. */
  readonly merges: readonly FragmentPair[];
  /** Fragments that the user has told apart. */
  readonly splits: readonly FragmentPair[];
}

export const DEFAULT_CONCURRENCY = 2;
const MAX_CONCURRENCY = 16;
const MAX_U64 = (1n << 64n) - 1n;

function fail(name: string, value: unknown, expected: string): never {
  throw new Error(
    `TokenUnify option ${JSON.stringify(name)} is ${JSON.stringify(value) ?? "undefined"}; expected ${expected}.`,
  );
}

function parseFragment(name: string, value: unknown): bigint {
  if (typeof value === "string" && /^[0-9]{1,20}$/.test(value)) {
    const id = BigInt(value);
    if (id > 0n && id <= MAX_U64) return id;
  }
  return fail(name, value, "a fragment id as a decimal string");
}

function parsePairs(name: string, value: unknown): FragmentPair[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) fail(name, value, "a list of pairs of ids");
  return value.map((pair: unknown) => {
    if (!Array.isArray(pair) || pair.length !== 2) {
      fail(name, pair, "a pair of ids");
    }
    return [parseFragment(name, pair[0]), parseFragment(name, pair[1])];
  });
}

/** Reads options; unknown keys are ignored so that newer links still open. */
export function parseOptions(json: unknown): TokenUnifyOptions {
  if (json === undefined || json === null) json = {};
  if (typeof json !== "object" || Array.isArray(json)) {
    fail("state", json, "an object");
  }
  const {
    model,
    threshold,
    concurrency = DEFAULT_CONCURRENCY,
    device = "auto",
    precision = "auto",
    merges,
    splits,
  } = json as Record<string, unknown>;
  if (model !== undefined && (typeof model !== "string" || model === "")) {
    fail("model", model, "a model id or URL");
  }
  if (
    threshold !== undefined &&
    !(typeof threshold === "number" && threshold >= 0 && threshold <= 1)
  ) {
    fail("threshold", threshold, "a number from 0 to 1");
  }
  if (
    !Number.isInteger(concurrency) ||
    (concurrency as number) < 1 ||
    (concurrency as number) > MAX_CONCURRENCY
  ) {
    fail("concurrency", concurrency, `an integer from 1 to ${MAX_CONCURRENCY}`);
  }
  if (device !== "auto" && device !== "webgpu" && device !== "cpu") {
    fail("device", device, '"auto", "webgpu" or "cpu"');
  }
  if (precision !== "auto" && precision !== "f32" && precision !== "f16") {
    fail("precision", precision, '"auto", "f32" or "f16"');
  }
  return {
    model,
    threshold,
    concurrency: concurrency as number,
    device,
    precision,
    merges: parsePairs("merges", merges),
    splits: parsePairs("splits", splits),
  };
}

/** The options that differ from their defaults; undefined if none does. */
export function optionsToJson(
  options: TokenUnifyOptions,
): Record<string, unknown> | undefined {
  const json: Record<string, unknown> = {};
  if (options.model !== undefined) json["model"] = options.model;
  if (options.threshold !== undefined) json["threshold"] = options.threshold;
  if (options.concurrency !== DEFAULT_CONCURRENCY) {
    json["concurrency"] = options.concurrency;
  }
  if (options.device !== "auto") json["device"] = options.device;
  if (options.precision !== "auto") json["precision"] = options.precision;
  for (const name of ["merges", "splits"] as const) {
    const pairs = options[name];
    if (pairs.length > 0) {
      json[name] = pairs.map(([a, b]) => [a.toString(), b.toString()]);
    }
  }
  return Object.keys(json).length > 0 ? json : undefined;
}
