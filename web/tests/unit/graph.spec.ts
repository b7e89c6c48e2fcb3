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

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SharedDisjointUint64Sets } from "neuroglancer/unstable/shared_disjoint_sets.js";
import { Uint64OrderedSet } from "neuroglancer/unstable/uint64_ordered_set.js";
import { Uint64Set } from "neuroglancer/unstable/uint64_set.js";
import type { SegmentationUserLayer } from "neuroglancer/unstable/layer/segmentation/index.js";
import { parseOptions } from "../../src/tokenunify/options.js";
import type { FrontendSession } from "../../src/tokenunify/session_frontend.js";
import { LayerState } from "../../src/tokenunify/state.js";

// Neuroglancer's side panel needs a page with styles and is not under test.
vi.mock("../../src/tokenunify/graph_tab.js", () => ({}));
const { TokenUnifyGraph } = await import("../../src/tokenunify/graph.js");

function pairs(...flat: number[]): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.from(flat, BigInt);
}

/** A layer's segments, as Neuroglancer keeps them, without a worker. */
function makeLayer() {
  const segmentsState = {
    segmentEquivalences: new SharedDisjointUint64Sets(),
    visibleSegments: new Uint64Set(),
    selectedSegments: new Uint64OrderedSet(),
  };
  const layer = {
    displayState: { segmentationGroupState: { value: segmentsState } },
  } as unknown as SegmentationUserLayer;
  return { segmentsState, layer };
}

function makeGraph(json?: unknown) {
  const connected: boolean[] = [];
  const state = new LayerState(parseOptions(json));
  const graph = new TokenUnifyGraph(state, (c) => connected.push(c));
  const { layer, segmentsState } = makeLayer();
  const connection = graph.connect(layer);
  let generation = 0;
  const session = { sendSettings: () => ++generation };
  graph.session.value = session as unknown as FrontendSession;
  const receive = (
    flat: BigUint64Array<ArrayBuffer>,
    impossible: [bigint, bigint][] = [],
  ) => graph.receive({ pairs: flat, impossible, generation });
  return { graph, state, segmentsState, connection, connected, receive };
}

describe("TokenUnifyGraph", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("publishes automatic segments and the user's merges", async () => {
    const { graph, segmentsState, receive } = makeGraph();
    receive(pairs(3, 2));
    await graph.merge(3n, 7n);
    const { segmentEquivalences } = segmentsState;
    expect(segmentEquivalences.get(7n)).toBe(2n);
    expect(graph.summary).toEqual({
      automaticMerges: 1,
      userMerges: 1,
      userSplits: 0,
    });
    // Another threshold: the automatic link goes, the user's stays.
    receive(pairs(5, 4));
    expect(segmentEquivalences.get(3n)).toBe(3n);
    expect(segmentEquivalences.get(7n)).toBe(3n);
    expect(segmentEquivalences.get(2n)).toBe(2n);
  });

  it("a selected fragment follows the root of its segment", () => {
    const { segmentsState, receive } = makeGraph();
    segmentsState.visibleSegments.add(9n);
    segmentsState.selectedSegments.add(9n);
    receive(pairs(9, 4));
    expect([...segmentsState.visibleSegments]).toEqual([4n]);
    expect([...segmentsState.selectedSegments]).toEqual([4n]);
  });

  it("a split waits for the worker and says what came of it", async () => {
    const { graph, state, receive } = makeGraph();
    receive(pairs(3, 2));
    const done = graph.split(2n, 3n);
    expect(state.options.splits).toEqual([[2n, 3n]]);
    receive(pairs());
    expect(await done).toEqual({ include: 2n, exclude: 3n });
  });

  it("a split also undoes merges that hold the two together", async () => {
    const { graph, state, receive } = makeGraph({ merges: [["2", "3"]] });
    receive(pairs(3, 2));
    const done = graph.split(2n, 3n);
    receive(pairs());
    await done;
    expect(state.options.merges).toEqual([]);
    expect(graph.root(3n)).toBe(3n);
  });

  it("an impossible split is refused and forgotten", async () => {
    const { graph, state, receive } = makeGraph();
    receive(pairs(3, 2));
    const done = graph.split(2n, 3n);
    const refused = expect(done).rejects.toThrow(/full affinity/);
    receive(pairs(3, 2), [[2n, 3n]]);
    await refused;
    expect(state.options.splits).toEqual([]);
    await expect(graph.split(2n, 2n)).rejects.toThrow(/one fragment/);
  });

  it("the latest edit can be taken back", async () => {
    const { graph, state } = makeGraph({ merges: [["1", "2"]] });
    expect(graph.canUndo).toBe(false);
    await graph.merge(2n, 3n);
    expect(graph.root(3n)).toBe(1n);
    graph.undo();
    expect(state.toJSON()).toEqual({ merges: [["1", "2"]] });
    expect(graph.root(3n)).toBe(3n);
  });

  it("edits of a saved state are there before any tile", () => {
    const { segmentsState } = makeGraph({ merges: [["8", "5"]] });
    expect(segmentsState.segmentEquivalences.get(8n)).toBe(5n);
  });

  it("tells when the layer is connected and when it is gone", () => {
    const { connection, connected } = makeGraph();
    expect(connected).toEqual([true]);
    connection.dispose();
    expect(connected).toEqual([true, false]);
  });
});
