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
 * @file The plugin manifest: which models there are and what they need.
 *
 * The manifest is untrusted input: everything that is used is checked here.
 * A model's `url` is relative to the manifest or absolute.
 */

import type { Zyx } from "./zyx.js";

/** One entry of the manifest's `models`. */
export interface ModelEntry {
  readonly id: string;
  readonly title: string;
  /** Absolute. */
  readonly url: string;
  /** 64 hexadecimal digits, or undefined for a model given by URL alone. */
  readonly sha256: string | undefined;
  readonly bytes: number | undefined;
  readonly parameters: number | undefined;
  readonly voxelNmZyx: Zyx;
  readonly tileZyx: Zyx;
  readonly haloZyx: Zyx;
  readonly licence: string;
}

export interface PluginManifest {
  readonly url: string;
  readonly version: string;
  /** Not empty; the first is the default. */
  readonly models: readonly ModelEntry[];
}

/** Larger model files are refused. */
export const MAX_MODEL_BYTES = 512 * 2 ** 20;
const MAX_MANIFEST_BYTES = 2 ** 20;
const MAX_HEADER_BYTES = 8 * 2 ** 20;
const MAX_TILE_EXTENT = 1024;

export class ManifestError extends Error {
  override readonly name = "ManifestError";
}

function refuse(where: string, what: string): never {
  throw new ManifestError(`${where}: ${what}.`);
}

function asObject(where: string, x: unknown): Record<string, unknown> {
  if (typeof x !== "object" || x === null || Array.isArray(x)) {
    refuse(where, "expected a JSON object");
  }
  return x as Record<string, unknown>;
}

function stringField(
  where: string,
  object: Record<string, unknown>,
  name: string,
): string {
  const value = object[name];
  if (typeof value !== "string" || value === "") {
    refuse(where, `"${name}" is not a non-empty string`);
  }
  return value;
}

function triple(
  where: string,
  name: string,
  value: unknown,
  valid: (n: number) => boolean,
): Zyx {
  if (
    !Array.isArray(value) ||
    value.length !== 3 ||
    !value.every((n) => typeof n === "number" && valid(n))
  ) {
    refuse(where, `"${name}" is not three numbers z, y, x in the valid range`);
  }
  return [value[0], value[1], value[2]] as unknown as Zyx;
}

const isPositive = (n: number): boolean => Number.isFinite(n) && n > 0;
const isTileExtent = (n: number): boolean =>
  Number.isInteger(n) && n >= 1 && n <= MAX_TILE_EXTENT;
const isHaloExtent = (n: number): boolean =>
  Number.isInteger(n) && n >= 0 && n <= MAX_TILE_EXTENT;

function geometry(
  where: string,
  entry: Record<string, unknown>,
): Pick<ModelEntry, "voxelNmZyx" | "tileZyx" | "haloZyx"> {
  return {
    voxelNmZyx: triple(
      where,
      "voxel_nm",
      entry["voxel_nm"] ?? entry["voxel_nm_zyx"],
      isPositive,
    ),
    tileZyx: triple(where, "tile_zyx", entry["tile_zyx"], isTileExtent),
    haloZyx: triple(where, "halo_zyx", entry["halo_zyx"], isHaloExtent),
  };
}

function httpUrl(where: string, relative: string, base: string): string {
  let url: URL;
  try {
    url = new URL(relative, base);
  } catch {
    return refuse(where, `"url" ${JSON.stringify(relative)} is not a URL`);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    refuse(where, `"url" has the scheme ${url.protocol} instead of https:`);
  }
  if (url.username !== "" || url.password !== "") {
    refuse(where, `"url" contains credentials`);
  }
  return url.href;
}

function parseModel(
  where: string,
  json: unknown,
  manifestUrl: string,
): ModelEntry {
  const entry = asObject(where, json);
  const { sha256, bytes, parameters } = entry;
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/i.test(sha256)) {
    refuse(where, `"sha256" is not 64 hexadecimal digits`);
  }
  if (
    typeof bytes !== "number" ||
    !Number.isInteger(bytes) ||
    bytes < 1 ||
    bytes > MAX_MODEL_BYTES
  ) {
    refuse(where, `"bytes" is not an integer from 1 to ${MAX_MODEL_BYTES}`);
  }
  const id = stringField(where, entry, "id");
  return {
    id,
    title: typeof entry["title"] === "string" ? entry["title"] : id,
    url: httpUrl(where, stringField(where, entry, "url"), manifestUrl),
    sha256: sha256.toLowerCase(),
    bytes,
    parameters: typeof parameters === "number" ? parameters : undefined,
    ...geometry(where, entry),
    licence: typeof entry["licence"] === "string" ? entry["licence"] : "",
  };
}

/** Checks a manifest. */
export function parseManifest(json: unknown, url: string): PluginManifest {
  const where = `Plugin manifest ${url}`;
  const manifest = asObject(where, json);
  const { models, version } = manifest;
  if (!Array.isArray(models) || models.length === 0) {
    refuse(where, `"models" is not a non-empty list`);
  }
  const parsed = models.map((model, index) =>
    parseModel(`${where}, models[${index}]`, model, url),
  );
  const ids = new Set(parsed.map((model) => model.id));
  if (ids.size !== parsed.length) refuse(where, `"models" repeats an id`);
  return {
    url,
    version: typeof version === "string" ? version : "",
    models: parsed,
  };
}

async function fetchOk(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ManifestError(
      `Cannot reach ${url}. Check that the server runs and sends ` +
        `"Access-Control-Allow-Origin".`,
      { cause: error },
    );
  }
  if (!response.ok) {
    throw new ManifestError(
      `${url} answered ${response.status} ${response.statusText}. ` +
        `Check the address.`,
    );
  }
  return response;
}

async function fetchManifest(
  url: string,
  signal: AbortSignal,
): Promise<PluginManifest> {
  const response = await fetchOk(url, { signal, cache: "no-cache" });
  const text = await response.text();
  if (text.length > MAX_MANIFEST_BYTES) {
    refuse(`Plugin manifest ${url}`, `larger than ${MAX_MANIFEST_BYTES} bytes`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ManifestError(`Plugin manifest ${url} is not JSON: ${error}.`);
  }
  return parseManifest(json, url);
}

/**
 * Reads the head of a safetensors file: 8 bytes little-endian length, then
 * JSON whose `__metadata__.tokenunify` is the model's metadata as JSON.
 */
async function fetchModelHead(
  url: string,
  sha256: string | undefined,
  signal: AbortSignal,
): Promise<ModelEntry> {
  const where = `Model ${url}`;
  const controller = new AbortController();
  const response = await fetchOk(url, {
    signal: AbortSignal.any([signal, controller.signal]),
  });
  const reader = response.body?.getReader();
  if (reader === undefined) return refuse(where, "empty response");
  let received = new Uint8Array(0);
  let needed = 8;
  while (received.length < needed) {
    const { done, value } = await reader.read();
    if (done) refuse(where, "truncated before the end of its header");
    const joined = new Uint8Array(received.length + value.length);
    joined.set(received);
    joined.set(value, received.length);
    received = joined;
    if (received.length >= 8) {
      const length = new DataView(received.buffer).getBigUint64(0, true);
      if (length > BigInt(MAX_HEADER_BYTES)) {
        controller.abort();
        refuse(where, "not a safetensors file, or its header is too large");
      }
      needed = 8 + Number(length);
    }
  }
  controller.abort();
  let metadata: Record<string, unknown>;
  try {
    const head: unknown = JSON.parse(
      new TextDecoder().decode(received.subarray(8, needed)),
    );
    const text = asObject(where, asObject(where, head)["__metadata__"])[
      "tokenunify"
    ];
    metadata = asObject(where, JSON.parse(String(text)));
  } catch (error) {
    throw new ManifestError(
      `${where} has no TokenUnify metadata; make one with tu-train.`,
      { cause: error },
    );
  }
  return {
    id: url,
    title: url.slice(url.lastIndexOf("/") + 1),
    url,
    sha256,
    bytes: undefined,
    parameters: undefined,
    ...geometry(where, metadata),
    licence: String(metadata["licence"] ?? ""),
  };
}

/**
 * Finds the model that an option names: nothing (the manifest's first), an id
 * of the manifest, the URL of another manifest (`….json`, optionally `#id`), or
 * the URL of a model file (optionally `#sha256-<hex>`, which is then checked).
 */
export async function chooseModel(
  option: string | undefined,
  defaultManifestUrl: string,
  signal: AbortSignal,
): Promise<ModelEntry> {
  let manifestUrl = defaultManifestUrl;
  let id = option;
  if (option !== undefined && /^https?:\/\//.test(option)) {
    const url = new URL(option);
    const fragment = decodeURIComponent(url.hash.slice(1));
    url.hash = "";
    if (!url.pathname.endsWith(".json")) {
      const digest = /^sha256-([0-9a-f]{64})$/i.exec(fragment)?.[1];
      if (fragment !== "" && digest === undefined) {
        refuse(`Model ${url.href}`, `expected "#sha256-<64 hex digits>"`);
      }
      return fetchModelHead(url.href, digest?.toLowerCase(), signal);
    }
    manifestUrl = url.href;
    id = fragment === "" ? undefined : fragment;
  }
  const manifest = await fetchManifest(manifestUrl, signal);
  const [first] = manifest.models;
  const model =
    id === undefined ? first : manifest.models.find((m) => m.id === id);
  if (model === undefined) {
    throw new ManifestError(
      `There is no model ${JSON.stringify(id)} in ${manifest.url}; ` +
        `it has ${manifest.models.map((m) => m.id).join(", ")}.`,
    );
  }
  return model;
}
