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
 * @file The same network with smaller tiles, so that tests on a software GPU
 * see many tiles in little time.
 */

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

export interface TestModel {
  readonly sha256: string;
  readonly bytes: number;
  readonly tileZyx: readonly [number, number, number];
  readonly haloZyx: readonly [number, number, number];
  readonly voxelNmZyx: readonly [number, number, number];
}

export const TILE_ZYX = [8, 32, 32] as const;
export const HALO_ZYX = [2, 8, 8] as const;

/** Copies a model file, changing tile and halo in its metadata. */
export function withSmallTiles(from: string, to: string): TestModel {
  const file = readFileSync(from);
  const headLength = Number(file.readBigUInt64LE(0));
  const head = JSON.parse(
    file.subarray(8, 8 + headLength).toString("utf8"),
  ) as { __metadata__: { tokenunify: string } };
  const metadata = JSON.parse(head.__metadata__.tokenunify) as {
    tile_zyx: readonly number[];
    halo_zyx: readonly number[];
    voxel_nm_zyx: [number, number, number];
  };
  metadata.tile_zyx = TILE_ZYX;
  metadata.halo_zyx = HALO_ZYX;
  head.__metadata__.tokenunify = JSON.stringify(metadata);
  let text = JSON.stringify(head);
  // The tensors behind the header stay aligned to 8 bytes.
  text = text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8, " ");
  const newHead = Buffer.from(text, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(newHead.length));
  const out = Buffer.concat([length, newHead, file.subarray(8 + headLength)]);
  writeFileSync(to, out);
  return {
    sha256: createHash("sha256").update(out).digest("hex"),
    bytes: out.length,
    tileZyx: TILE_ZYX,
    haloZyx: HALO_ZYX,
    voxelNmZyx: metadata.voxel_nm_zyx,
  };
}
