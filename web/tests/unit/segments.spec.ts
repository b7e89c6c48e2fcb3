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

import { describe, expect, it } from "vitest";
import { DisjointUint64Sets } from "neuroglancer/unstable/util/disjoint_sets.js";
import { agglomerateWithSplits } from "../../src/tokenunify/agglomeration.js";
import type { FragmentPair } from "../../src/tokenunify/options.js";
import {
  MinDisjointSets,
  partitionOf,
  publishPartition,
  withMerge,
  withSplit,
} from "../../src/tokenunify/segment_partition.js";

const NO_EDITS = { merges: [], splits: [] };

function pairs(...flat: number[]): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.from(flat, BigInt);
}

/** Sets of more than one member, as sorted strings. */
function setsOf(find: (id: bigint) => bigint, ids: Iterable<bigint>): string[] {
  const groups = new Map<bigint, bigint[]>();
  for (const id of new Set(ids)) {
    const root = find(id);
    groups.set(root, [...(groups.get(root) ?? []), id]);
  }
  return [...groups.values()]
    .filter((group) => group.length > 1)
    .map((group) => group.sort((a, b) => (a < b ? -1 : 1)).join("+"))
    .sort();
}

const IDS = Array.from({ length: 12 }, (_, i) => BigInt(i + 1));

/**
 * A region graph that merges edges below the threshold, the simplest with
 * nested segments.
 */
function singleLinkage(edges: readonly (readonly [number, number, number])[]) {
  return (threshold: number): BigUint64Array<ArrayBuffer> => {
    const sets = new MinDisjointSets();
    for (const [a, b, score] of edges) {
      if (score < threshold) sets.link(BigInt(a), BigInt(b));
    }
    const flat: bigint[] = [];
    for (const id of sets.elements()) {
      if (sets.find(id) !== id) flat.push(id, sets.find(id));
    }
    return BigUint64Array.from(flat);
  };
}

describe("partitionOf", () => {
  it("represents a segment by its smallest fragment", () => {
    const sets = partitionOf(pairs(9, 4, 12, 9), [[4n, 2n]]);
    expect(sets.find(12n)).toBe(2n);
    expect(sets.find(1n)).toBe(1n);
  });
});

describe("merges and splits", () => {
  it("a merge holds on top of whatever the automatic segments are", () => {
    const edits = withMerge(pairs(2, 1), NO_EDITS, [2n, 5n]);
    expect(edits).toEqual({ merges: [[2n, 5n]], splits: [] });
    const sets = partitionOf(pairs(6, 5), edits.merges);
    expect(setsOf((id) => sets.find(id), IDS)).toEqual(["2+5+6"]);
  });

  it("merging what is one segment already changes nothing", () => {
    expect(withMerge(pairs(2, 1), NO_EDITS, [1n, 2n])).toBe(NO_EDITS);
  });

  it("a merge takes back the split that it contradicts, and no other", () => {
    const edits = {
      merges: [],
      splits: [
        [1n, 2n],
        [3n, 4n],
      ] as FragmentPair[],
    };
    expect(withMerge(pairs(6, 2), edits, [6n, 1n])).toEqual({
      merges: [[6n, 1n]],
      splits: [[3n, 4n]],
    });
  });

  it("a split of an automatic segment is handed to the worker", () => {
    const once = withSplit(pairs(2, 1), NO_EDITS, [2n, 1n]);
    expect(once).toEqual({ merges: [], splits: [[2n, 1n]] });
    expect(withSplit(pairs(2, 1), once, [1n, 2n]).splits).toEqual([[2n, 1n]]);
  });

  it("a split of the user's own merges gives up the latest one that connects", () => {
    const merges: FragmentPair[] = [
      [1n, 3n],
      [3n, 5n],
      [7n, 8n],
    ];
    const edits = withSplit(pairs(), { merges, splits: [] }, [1n, 5n]);
    expect(edits).toEqual({
      merges: [
        [1n, 3n],
        [7n, 8n],
      ],
      splits: [],
    });
  });

  it("a split finds the way through automatic segments between merges", () => {
    // 1 –merge– 2 ~auto~ 3 –merge– 4
    const edits = withSplit(
      pairs(3, 2),
      {
        merges: [
          [1n, 2n],
          [3n, 4n],
        ],
        splits: [],
      },
      [1n, 4n],
    );
    expect(edits.merges).toEqual([[1n, 2n]]);
    expect(edits.splits).toEqual([]);
  });
});

describe("agglomerateWithSplits", () => {
  const chain = singleLinkage([
    [1, 2, 0.1],
    [2, 3, 0.3],
    [3, 4, 0.2],
    [5, 6, 0.3],
    [7, 8, 0],
  ]);
  const split = (threshold: number, splits: FragmentPair[]) => {
    const { pairs: flat, impossible } = agglomerateWithSplits(
      chain,
      threshold,
      splits,
    );
    const sets = partitionOf(flat, []);
    return { sets: setsOf((id) => sets.find(id), IDS), impossible };
  };

  it("without splits is what the graph says", () => {
    expect(split(0.5, []).sets).toEqual(["1+2+3+4", "5+6", "7+8"]);
    expect(split(0.15, []).sets).toEqual(["1+2", "7+8"]);
  });

  it("cuts at the weakest link between the two, and only that segment", () => {
    expect(split(0.5, [[1n, 4n]]).sets).toEqual(["1+2", "3+4", "5+6", "7+8"]);
  });

  it("applies several splits of one segment in turn", () => {
    expect(
      split(0.5, [
        [1n, 4n],
        [3n, 4n],
      ]).sets,
    ).toEqual(["1+2", "5+6", "7+8"]);
  });

  it("a split of what is apart anyway does nothing", () => {
    expect(split(0.15, [[1n, 4n]]).sets).toEqual(["1+2", "7+8"]);
  });

  it("reports splits that no threshold brings about", () => {
    const merged = (): BigUint64Array<ArrayBuffer> => pairs(8, 7);
    expect(agglomerateWithSplits(merged, 0.5, [[7n, 8n]]).impossible).toEqual([
      [7n, 8n],
    ]);
    expect(split(0.5, [[1n, 1n]]).impossible).toEqual([[1n, 1n]]);
  });

  it("a new threshold keeps the split", () => {
    for (const threshold of [0.32, 0.4, 0.9]) {
      expect(split(threshold, [[2n, 3n]]).sets).toContain("1+2");
      expect(split(threshold, [[2n, 3n]]).sets).toContain("3+4");
    }
  });
});

describe("publishPartition", () => {
  function publish(published: DisjointUint64Sets, flat: number[]): number {
    return publishPartition(
      {
        get: (id) => published.get(id),
        link: (a, b) => published.link(a, b),
        deleteSet: (id) => published.deleteSet(id),
        mappings: () => published.mappings(),
      },
      partitionOf(pairs(...flat), []),
    );
  }

  it("only links what is new when segments grow", () => {
    const published = new DisjointUint64Sets();
    expect(publish(published, [2, 1, 3, 1, 6, 5])).toBe(3);
    expect(publish(published, [2, 1, 3, 1, 6, 5])).toBe(0);
    expect(publish(published, [2, 1, 3, 1, 4, 1, 6, 5])).toBe(1);
  });

  it("reaches any partition from any other", () => {
    const published = new DisjointUint64Sets();
    let seed = 1;
    const random = (n: number): number => {
      seed = (seed * 48271) % 2147483647;
      return seed % n;
    };
    for (let round = 0; round < 50; ++round) {
      const flat: number[] = [];
      for (let i = 0; i < random(10); ++i) {
        flat.push(1 + random(12), 1 + random(12));
      }
      publish(published, flat);
      const target = partitionOf(pairs(...flat), []);
      expect(setsOf((id) => published.get(id), IDS)).toEqual(
        setsOf((id) => target.find(id), IDS),
      );
      for (const id of IDS) expect(published.get(id)).toBe(target.find(id));
    }
  });
});
