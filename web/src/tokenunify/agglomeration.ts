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
 * @file Automatic segments with the user's splits.
 *
 * Agglomeration is a sequence of merges with rising score that stops at the
 * threshold, so the segments of a lower threshold lie inside those of a higher
 * one.  A split (a, b) therefore lowers the threshold for one segment only: to
 * the largest value at which a and b are apart.  The rest of the volume keeps
 * the layer's threshold.
 */

import type { FragmentPair } from "./options.js";

/** Flat pairs (fragment, root) at a threshold, as the region graph gives. */
export type EquivalencesAt = (threshold: number) => BigUint64Array<ArrayBuffer>;

/** Affinities have 256 bins, so scores differ by 1/256 at least. */
const SCORE_STEP = 1 / 256;

type Roots = ReadonlyMap<bigint, bigint>;

function rootsOf(pairs: BigUint64Array): Map<bigint, bigint> {
  const roots = new Map<bigint, bigint>();
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const id = pairs[i];
    const root = pairs[i + 1];
    if (id === undefined || root === undefined) continue;
    roots.set(id, root);
  }
  return roots;
}

export interface SplitResult {
  /** Flat pairs (fragment, root), fragment ≠ root. */
  readonly pairs: BigUint64Array<ArrayBuffer>;
  /** Splits that no threshold brings about. */
  readonly impossible: readonly FragmentPair[];
}

/** Agglomerates at `threshold` and then applies the splits in order. */
export function agglomerateWithSplits(
  equivalencesAt: EquivalencesAt,
  threshold: number,
  splits: readonly FragmentPair[],
): SplitResult {
  const pairs = equivalencesAt(threshold);
  if (splits.length === 0) return { pairs, impossible: [] };

  const roots = rootsOf(pairs);
  const root = (id: bigint): bigint => roots.get(id) ?? id;
  const memo = new Map<number, Roots>();
  const rootsAt = (step: number): Roots => {
    let found = memo.get(step);
    if (found === undefined) {
      found = rootsOf(equivalencesAt(step * SCORE_STEP));
      memo.set(step, found);
    }
    return found;
  };
  const impossible: FragmentPair[] = [];
  for (const [a, b] of splits) {
    if (root(a) !== root(b)) continue;
    // largest step at which a and b are apart; 0 merges nothing
    const apart = (step: number): boolean => {
      const at = rootsAt(step);
      return (at.get(a) ?? a) !== (at.get(b) ?? b);
    };
    if (a === b || !apart(0)) {
      impossible.push([a, b]);
      continue;
    }
    let low = 0;
    let high = Math.ceil(threshold / SCORE_STEP);
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (apart(middle)) low = middle;
      else high = middle;
    }
    const finer = rootsAt(low);
    const segment = root(a);
    const members = [...roots.keys(), segment].filter(
      (id) => root(id) === segment,
    );
    // smallest member of each piece becomes its root
    const pieceRoot = new Map<bigint, bigint>();
    for (const id of members) {
      const piece = finer.get(id) ?? id;
      const smallest = pieceRoot.get(piece);
      if (smallest === undefined || id < smallest) pieceRoot.set(piece, id);
    }
    for (const id of members) {
      roots.set(id, pieceRoot.get(finer.get(id) ?? id) ?? id);
    }
  }
  const flat: bigint[] = [];
  for (const [id, to] of roots) if (id !== to) flat.push(id, to);
  return { pairs: BigUint64Array.from(flat), impossible };
}
