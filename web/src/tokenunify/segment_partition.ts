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
 * @file Which fragments belong together: the automatic segments and the user's
 * merges on top of them.
 *
 * The automatic segments arrive as pairs (fragment, root) with the user's
 * splits already applied (see `agglomeration.ts`).  Merges are edges between
 * fragments and hold whatever the automatic segments are, so they survive a
 * change of threshold and the arrival of tiles.
 */

import type { FragmentPair } from "./options.js";

/** Disjoint sets whose representative is the smallest member. */
export class MinDisjointSets {
  private readonly parent = new Map<bigint, bigint>();

  find(x: bigint): bigint {
    let root = x;
    for (;;) {
      const next = this.parent.get(root);
      if (next === undefined || next === root) break;
      root = next;
    }
    while (x !== root) {
      const next = this.parent.get(x) ?? root;
      this.parent.set(x, root);
      x = next;
    }
    return root;
  }

  link(a: bigint, b: bigint): void {
    const rootA = this.find(a);
    const rootB = this.find(b);
    this.parent.set(rootA, rootA < rootB ? rootA : rootB);
    this.parent.set(rootB, rootA < rootB ? rootA : rootB);
  }

  /** Every element that was ever linked, in order of first appearance. */
  elements(): IterableIterator<bigint> {
    return this.parent.keys();
  }
}

function samePair(p: FragmentPair, q: FragmentPair): boolean {
  return (p[0] === q[0] && p[1] === q[1]) || (p[0] === q[1] && p[1] === q[0]);
}

/** Sets of fragments under the automatic segments and a list of merges. */
export function partitionOf(
  automaticPairs: BigUint64Array,
  merges: readonly FragmentPair[],
): MinDisjointSets {
  const sets = new MinDisjointSets();
  for (let i = 0; i + 1 < automaticPairs.length; i += 2) {
    const a = automaticPairs[i];
    const b = automaticPairs[i + 1];
    if (a !== undefined && b !== undefined) sets.link(a, b);
  }
  for (const [a, b] of merges) sets.link(a, b);
  return sets;
}

/** What the user's edits are after another edit. */
export interface Edits {
  readonly merges: readonly FragmentPair[];
  readonly splits: readonly FragmentPair[];
}

/**
 * Joins two fragments.  A split whose two ends would be in one segment again is
 * given up: the later decision holds.
 */
export function withMerge(
  automaticPairs: BigUint64Array,
  edits: Edits,
  pair: FragmentPair,
): Edits {
  const sets = partitionOf(automaticPairs, edits.merges);
  if (sets.find(pair[0]) === sets.find(pair[1])) return edits;
  sets.link(pair[0], pair[1]);
  return {
    merges: [...edits.merges, pair],
    splits: edits.splits.filter(([a, b]) => sets.find(a) !== sets.find(b)),
  };
}

/**
 * Tells two fragments apart.  Where the user's own merges connect them, the
 * latest merges on the way are given up; where the automatic segments do, the
 * pair is added to the splits.
 */
export function withSplit(
  automaticPairs: BigUint64Array,
  edits: Edits,
  pair: FragmentPair,
): Edits {
  const [a, b] = pair;
  const automatic = partitionOf(automaticPairs, []);
  let merges = edits.merges;
  let splits = edits.splits;
  if (
    automatic.find(a) === automatic.find(b) &&
    !splits.some((split) => samePair(split, pair))
  ) {
    splits = [...splits, pair];
  }
  merges = merges.filter((merge) => !samePair(merge, pair));
  // Without the automatic link, merges alone may still connect the two.
  const connectedByMerges = (list: readonly FragmentPair[]): boolean => {
    const sets = new MinDisjointSets();
    for (const [c, d] of list) sets.link(automatic.find(c), automatic.find(d));
    return sets.find(automatic.find(a)) === sets.find(automatic.find(b));
  };
  if (automatic.find(a) !== automatic.find(b)) {
    while (merges.length > 0 && connectedByMerges(merges)) {
      // drop the latest merge that the connection needs
      let needed = merges.length - 1;
      for (let i = merges.length - 1; i >= 0; --i) {
        if (!connectedByMerges(merges.filter((_, k) => k !== i))) {
          needed = i;
          break;
        }
      }
      merges = merges.filter((_, k) => k !== needed);
    }
  }
  return { merges, splits };
}

/** The part of disjoint sets that {@link publishPartition} writes to. */
export interface EquivalenceSets {
  get(id: bigint): bigint;
  link(a: bigint, b: bigint): unknown;
  deleteSet(id: bigint): unknown;
  mappings(): Iterable<[bigint, bigint]>;
}

/**
 * Brings `published` to `target` with as few changes as possible: sets that
 * only grew are linked, sets that lost a member are dissolved and rebuilt.
 * @returns the number of links and dissolved sets
 */
export function publishPartition(
  published: EquivalenceSets,
  target: MinDisjointSets,
): number {
  let changes = 0;
  const targetOfSet = new Map<bigint, bigint>();
  const broken = new Set<bigint>();
  for (const [id, root] of published.mappings()) {
    const wanted = target.find(id);
    const known = targetOfSet.get(root);
    if (known === undefined) targetOfSet.set(root, wanted);
    else if (known !== wanted) broken.add(root);
  }
  for (const root of broken) {
    published.deleteSet(root);
    ++changes;
  }
  for (const id of target.elements()) {
    const root = target.find(id);
    if (id !== root && published.get(id) !== published.get(root)) {
      published.link(id, root);
      ++changes;
    }
  }
  return changes;
}
