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

import { afterEach, describe, expect, it, vi } from "vitest";
import { readFileSync } from "node:fs";
import {
  chooseModel,
  MAX_MODEL_BYTES,
  parseManifest,
} from "../../src/tokenunify/manifest.js";

const URL_OF_MANIFEST = "https://host/plugin-manifest/manifest.json";
const SHA = "ab".repeat(32);

function model(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: "tiny",
    title: "Tiny",
    url: "../models/tiny.safetensors",
    sha256: SHA,
    bytes: 1000,
    parameters: 17,
    voxel_nm: [30, 8, 8],
    tile_zyx: [16, 64, 64],
    halo_zyx: [4, 16, 16],
    licence: "CC-BY-SA-4.0",
    training_data: ["FIB-25"],
    ...changes,
  };
}

const never = new AbortController().signal;

function serve(files: Record<string, string | Uint8Array | number>): void {
  vi.stubGlobal("fetch", async (url: string) => {
    const body = files[url];
    if (body === undefined) throw new TypeError("Failed to fetch");
    return typeof body === "number"
      ? new Response("", { status: body })
      : new Response(body as BodyInit);
  });
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("parseManifest", () => {
  it("takes model addresses relative to the manifest", () => {
    const manifest = parseManifest(
      {
        version: "1.2.3",
        models: [model(), model({ id: "b", url: "https://other/b" })],
      },
      URL_OF_MANIFEST,
    );
    expect(manifest.models.map((m) => m.url)).toEqual([
      "https://host/models/tiny.safetensors",
      "https://other/b",
    ]);
    expect(manifest.models[0]).toMatchObject({
      voxelNmZyx: [30, 8, 8],
      tileZyx: [16, 64, 64],
      haloZyx: [4, 16, 16],
      sha256: SHA,
    });
  });

  it("accepts the manifest of this repository", () => {
    const text = readFileSync("../plugin-manifest/manifest.json", "utf8");
    expect(
      parseManifest(JSON.parse(text), URL_OF_MANIFEST).models.length,
    ).toBeGreaterThan(0);
  });

  it.each([
    [null, /expected a JSON object/],
    [{ models: [] }, /"models" is not a non-empty list/],
    [{ models: [model(), model()] }, /repeats an id/],
    [{ models: [model({ sha256: "abc" })] }, /"sha256"/],
    [{ models: [model({ bytes: MAX_MODEL_BYTES + 1 })] }, /"bytes"/],
    [{ models: [model({ bytes: 1.5 })] }, /"bytes"/],
    [{ models: [model({ tile_zyx: [16, 64] })] }, /"tile_zyx"/],
    [{ models: [model({ tile_zyx: [16, 64, 1e9] })] }, /"tile_zyx"/],
    [{ models: [model({ halo_zyx: [-1, 0, 0] })] }, /"halo_zyx"/],
    [{ models: [model({ voxel_nm: [0, 8, 8] })] }, /"voxel_nm"/],
    [{ models: [model({ url: "javascript:alert(1)" })] }, /scheme javascript/],
    [{ models: [model({ url: "https://u:p@h/x" })] }, /credentials/],
  ])("refuses %j", (json, message) => {
    expect(() => parseManifest(json, URL_OF_MANIFEST)).toThrow(message);
  });
});

describe("chooseModel", () => {
  const text = JSON.stringify({
    version: "1",
    models: [model(), model({ id: "small" })],
  });

  it("takes the first model, or the one that is named", async () => {
    serve({ [URL_OF_MANIFEST]: text });
    const choose = (option?: string) =>
      chooseModel(option, URL_OF_MANIFEST, never);
    expect((await choose()).id).toBe("tiny");
    expect((await choose("small")).id).toBe("small");
    await expect(choose("huge")).rejects.toThrow(/it has tiny, small/);
  });

  it("takes a model of another manifest", async () => {
    const other = "https://lab/m/manifest.json";
    serve({ [other]: text });
    const chosen = await chooseModel(`${other}#small`, URL_OF_MANIFEST, never);
    expect(chosen.url).toBe("https://lab/models/tiny.safetensors");
  });

  it("says what to do when the manifest is not there", async () => {
    serve({ [URL_OF_MANIFEST]: 404 });
    await expect(
      chooseModel(undefined, URL_OF_MANIFEST, never),
    ).rejects.toThrow(/answered 404.*Check the address/);
    serve({});
    await expect(
      chooseModel(undefined, URL_OF_MANIFEST, never),
    ).rejects.toThrow(/Cannot reach.*Access-Control-Allow-Origin/);
    serve({ [URL_OF_MANIFEST]: "<!doctype html>" });
    await expect(
      chooseModel(undefined, URL_OF_MANIFEST, never),
    ).rejects.toThrow(/is not JSON/);
  });

  function safetensors(metadata: unknown): Uint8Array {
    const head = new TextEncoder().encode(
      JSON.stringify({
        __metadata__: { tokenunify: JSON.stringify(metadata) },
      }),
    );
    const file = new Uint8Array(8 + head.length + 100);
    new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
    file.set(head, 8);
    return file;
  }

  it("reads the geometry of a model given by its address", async () => {
    const url = "https://lab/m.safetensors";
    serve({
      [url]: safetensors({
        voxel_nm_zyx: [30, 8, 8],
        tile_zyx: [8, 32, 32],
        halo_zyx: [2, 8, 8],
        licence: "MIT",
      }),
    });
    const chosen = await chooseModel(
      `${url}#sha256-${SHA}`,
      URL_OF_MANIFEST,
      never,
    );
    expect(chosen).toMatchObject({
      url,
      sha256: SHA,
      tileZyx: [8, 32, 32],
      haloZyx: [2, 8, 8],
    });
    expect((await chooseModel(url, URL_OF_MANIFEST, never)).sha256).toBe(
      undefined,
    );
    await expect(
      chooseModel(`${url}#md5-1`, URL_OF_MANIFEST, never),
    ).rejects.toThrow(/sha256-/);
  });

  it.each([
    [new Uint8Array(4), /truncated/],
    [Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 255, 1]), /too large/],
    [new Uint8Array(20), /no TokenUnify metadata/],
  ])("refuses a file that is no model", async (body, message) => {
    serve({ "https://lab/m": body });
    await expect(
      chooseModel("https://lab/m", URL_OF_MANIFEST, never),
    ).rejects.toThrow(message);
  });
});
