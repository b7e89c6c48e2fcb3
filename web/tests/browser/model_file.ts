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

interface Metadata {
  tile_zyx: readonly number[];
  halo_zyx: readonly number[];
  voxel_nm_zyx: [number, number, number];
  known_answer?: { values: number[] };
}

type Head = { __metadata__: { tokenunify: string } } & Record<
  string,
  { data_offsets: [begin: number, end: number] }
>;

function split(file: Buffer): { head: Head; tensors: Buffer } {
  const length = Number(file.readBigUInt64LE(0));
  const head = JSON.parse(file.subarray(8, 8 + length).toString("utf8"));
  return { head: head as Head, tensors: file.subarray(8 + length) };
}

function withMetadata(
  file: Buffer,
  change: (metadata: Metadata) => void,
): Buffer {
  const { head, tensors } = split(file);
  const metadata = JSON.parse(head.__metadata__.tokenunify) as Metadata;
  change(metadata);
  head.__metadata__.tokenunify = JSON.stringify(metadata);
  let text = JSON.stringify(head);
  // The tensors behind the header stay aligned to 8 bytes.
  text = text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8, " ");
  const newHead = Buffer.from(text, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(newHead.length));
  return Buffer.concat([length, newHead, tensors]);
}

/** Copies a model file, changing tile and halo in its metadata. */
export function writeWithSmallTiles(from: string, to: string): void {
  const small = withMetadata(readFileSync(from), (metadata) => {
    metadata.tile_zyx = TILE_ZYX;
    metadata.halo_zyx = HALO_ZYX;
    // It is that of another window.
    delete metadata.known_answer;
  });
  writeFileSync(to, small);
}

/** What the manifest says of a model file. */
export function describeModel(path: string): TestModel {
  const file = readFileSync(path);
  const { head } = split(file);
  const metadata = JSON.parse(head.__metadata__.tokenunify) as Metadata;
  return {
    sha256: sha256(file),
    bytes: file.length,
    tileZyx: TILE_ZYX,
    haloZyx: HALO_ZYX,
    voxelNmZyx: metadata.voxel_nm_zyx,
  };
}

export const sha256 = (file: Buffer): string =>
  createHash("sha256").update(file).digest("hex");

/** The model with another value in its known answer. */
export function withFlippedAnswer(file: Buffer): Buffer {
  return withMetadata(file, ({ known_answer: known }) => {
    if (known === undefined) throw new Error("There is no known answer.");
    known.values[3] = 1 - (known.values[3] ?? 0) / 2;
  });
}
