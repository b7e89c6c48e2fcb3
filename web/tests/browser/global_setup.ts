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
 * @file Makes what the browser tests look at: a model with small tiles, a
 * volume, and, through `tu-train`, the segmentation that the browser has to
 * reproduce.
 */

import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { writeZarr } from "../zarr_files.js";
import { describeModel, writeWithSmallTiles } from "./model_file.js";

/** Two tiles deep, so that segments cross tile borders along every axis. */
export const VOLUME_ZYX = [16, 160, 192] as const;

/**
 * What is compared with `tu-train`: few tiles, because a software GPU takes
 * half a minute for each.
 */
export const COMPARED = {
  webgpu: { name: "pair", shapeZyx: [8, 32, 64] },
  cpu: { name: "block", shapeZyx: [16, 80, 96] },
} as const;

const web = path.resolve(import.meta.dirname, "../..");

/** A model of the site, or the one that `TU_MODEL` names. */
function modelFile(site: string): string {
  const named = process.env["TU_MODEL"];
  if (named !== undefined) return named;
  const manifestFile = path.join(site, "plugin-manifest/manifest.json");
  const { models } = JSON.parse(readFileSync(manifestFile, "utf8")) as {
    models: { url: string }[];
  };
  return path.resolve(path.dirname(manifestFile), models[0]?.url ?? "");
}

/** Cells with dark membranes, for when there is no `tu-train`. */
function writeCells(folder: string, voxelNm: readonly number[]): void {
  let state = 7;
  const random = (n: number): number => {
    state = (state * 48271) % 2147483647;
    return state % n;
  };
  const seeds = Array.from({ length: 40 }, () => [
    random(VOLUME_ZYX[1]),
    random(VOLUME_ZYX[2]),
  ]);
  writeZarr(
    folder,
    {
      shape: VOLUME_ZYX,
      chunk: [16, 96, 96],
      dataType: "uint8",
      dimensionNames: ["z", "y", "x"],
      voxelNm,
    },
    ([z = 0, y = 0, x = 0]) => {
      const distances = seeds
        .map(([sy = 0, sx = 0]) => Math.hypot(y - sy, x - sx - z / 4))
        .sort((a, b) => a - b);
      const membrane = (distances[1] ?? 9) - (distances[0] ?? 0) < 2.5;
      return membrane ? 60 : 190 + ((z * 7 + y * 13 + x * 17) % 11);
    },
  );
}

export default function globalSetup(): () => void {
  const site = process.env["TU_SITE_DIR"] ?? path.join(web, "dist");
  if (!existsSync(path.join(site, "index.html"))) {
    throw new Error(`${site} is not built; run \`cargo xtask web\` first.`);
  }
  const folder = mkdtempSync(path.join(os.tmpdir(), "tokenunify-web-"));
  process.env["TU_FIXTURES"] = folder;
  process.env["TU_SITE_DIR"] = site;
  mkdirSync(path.join(folder, "models"));
  mkdirSync(path.join(folder, "plugin-manifest"));

  const named = process.env["TU_TRAIN"];
  const train = named !== undefined && existsSync(named) ? named : undefined;
  const modelPath = path.join(folder, "models/small.safetensors");
  if (train === undefined) {
    writeWithSmallTiles(modelFile(site), modelPath);
  } else {
    const plain = path.join(folder, "plain.safetensors");
    writeWithSmallTiles(modelFile(site), plain);
    const seal = ["known-answer", "--model", plain, "--out", modelPath];
    execFileSync(train, seal, { stdio: "inherit" });
  }
  const model = describeModel(modelPath);
  writeFileSync(
    path.join(folder, "plugin-manifest/manifest.json"),
    JSON.stringify({
      version: "0.0.0",
      models: [
        {
          id: "small-tiles",
          title: "Small tiles",
          url: "../models/small.safetensors",
          sha256: model.sha256,
          bytes: model.bytes,
          parameters: 1,
          voxel_nm: model.voxelNmZyx,
          tile_zyx: model.tileZyx,
          halo_zyx: model.haloZyx,
          licence: "",
          training_data: [],
        },
      ],
    }),
  );

  const data = path.join(folder, "data");
  if (train === undefined) {
    console.log(
      "SKIPPED the comparison with tu-train: set TU_TRAIN to the binary.",
    );
    delete process.env["TU_TRAIN"];
    writeCells(path.join(data, "volume.zarr/raw"), model.voxelNmZyx);
  } else {
    const run = (...args: string[]): void => {
      execFileSync(train, args, { stdio: "inherit" });
    };
    const phantom = (name: string, shapeZyx: readonly number[]): string => {
      const volume = path.join(data, `${name}.zarr`);
      run(
        ...["phantom", "--out", volume, "--shape", shapeZyx.join()],
        ...["--voxel-nm", model.voxelNmZyx.join()],
      );
      return path.join(volume, "raw");
    };
    mkdirSync(data);
    phantom("volume", VOLUME_ZYX);
    for (const { name, shapeZyx } of Object.values(COMPARED)) {
      run(
        ...["segment", "--input", phantom(name, shapeZyx)],
        ...["--model", modelPath, "--device", "cpu"],
        ...["--output", path.join(folder, `${name}_segments`)],
        ...["--write-fragments", path.join(folder, `${name}_fragments`)],
      );
    }
  }
  return () => rmSync(folder, { recursive: true, force: true });
}
