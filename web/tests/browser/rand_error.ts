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
 * @file Adapted Rand error of two label volumes.
 *
 * With p_ij the part of voxels that have label i in the one and j in the other,
 * precision = Σ p_ij² / Σ_i (Σ_j p_ij)², recall = Σ p_ij² / Σ_j (Σ_i p_ij)²,
 * error = 1 − 2·precision·recall / (precision + recall).  Unlike the score of a
 * segmentation against a ground truth, label 0 counts like any other.
 */

export function adaptedRandError(a: BigUint64Array, b: BigUint64Array): number {
  const joint = new Map<bigint, Map<bigint, number>>();
  const sumsA = new Map<bigint, number>();
  const sumsB = new Map<bigint, number>();
  a.forEach((i, voxel) => {
    const j = b[voxel] ?? 0n;
    let row = joint.get(i);
    if (row === undefined) joint.set(i, (row = new Map()));
    row.set(j, (row.get(j) ?? 0) + 1);
    sumsA.set(i, (sumsA.get(i) ?? 0) + 1);
    sumsB.set(j, (sumsB.get(j) ?? 0) + 1);
  });
  const squares = (counts: Iterable<number>): number => {
    let sum = 0;
    for (const count of counts) sum += count * count;
    return sum;
  };
  let both = 0;
  for (const row of joint.values()) both += squares(row.values());
  const precision = both / squares(sumsA.values());
  const recall = both / squares(sumsB.values());
  return 1 - (2 * precision * recall) / (precision + recall);
}
