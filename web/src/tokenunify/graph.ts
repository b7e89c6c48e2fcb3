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
 * @file The layer's segmentation graph: automatic segments plus the user's
 * merges and splits.
 *
 * Neuroglancer's merge and split tools and its "Graph" tab work on it.  Edits
 * are kept in the layer state, as pairs of fragment ids, and therefore survive
 * a reload, a change of threshold and the arrival of tiles.
 */

import type { SegmentationUserLayer } from "neuroglancer/unstable/layer/segmentation/index.js";
import type { VisibleSegmentsState } from "neuroglancer/unstable/segmentation_display_state/base.js";
import { VisibleSegmentEquivalencePolicy } from "neuroglancer/unstable/segmentation_graph/segment_id.js";
import type {
  ComputedSplit,
  SegmentationGraphSourceTab,
} from "neuroglancer/unstable/segmentation_graph/source.js";
import {
  SegmentationGraphSource,
  SegmentationGraphSourceConnection,
} from "neuroglancer/unstable/segmentation_graph/source.js";
import { WatchableValue } from "neuroglancer/unstable/trackable_value.js";
import { NullarySignal } from "neuroglancer/unstable/util/signal.js";
import type { DependentViewContext } from "neuroglancer/unstable/widget/dependent_view_widget.js";
import type { EquivalencesMessage } from "./base.js";
import { graphTabContents } from "./graph_tab.js";
import type { FragmentPair } from "./options.js";
import type { Edits } from "./segment_partition.js";
import {
  MinDisjointSets,
  partitionOf,
  publishPartition,
  withMerge,
  withSplit,
} from "./segment_partition.js";
import type { FrontendSession } from "./session_frontend.js";
import type { LayerState } from "./state.js";

/** How long a split waits for the worker. */
const SPLIT_TIMEOUT_MS = 60_000;

interface PendingSplit {
  readonly generation: number;
  readonly pair: FragmentPair;
  resolve(): void;
  reject(error: Error): void;
}

/** Counts for the Graph tab. */
export interface GraphSummary {
  readonly automaticMerges: number;
  readonly userMerges: number;
  readonly userSplits: number;
}

export class TokenUnifyGraph extends SegmentationGraphSource {
  /** Follows the layer's session, so that the tab can show its state. */
  readonly session = new WatchableValue<FrontendSession | undefined>(undefined);
  readonly changed = new NullarySignal();
  readonly connections = new Set<TokenUnifyGraphConnection>();
  private automaticPairs = new BigUint64Array(0);
  private partition = new MinDisjointSets();
  private pendingSplits: PendingSplit[] = [];
  /** Edits before each of this page's edits, oldest first. */
  private history: Edits[] = [];

  constructor(
    readonly state: LayerState,
    /** Called when the first connection is made and the last one ends. */
    private readonly onConnected: (connected: boolean) => void = () => {},
  ) {
    super();
  }

  get summary(): GraphSummary {
    const { merges, splits } = this.state.options;
    return {
      automaticMerges: this.automaticPairs.length / 2,
      userMerges: merges.length,
      userSplits: splits.length,
    };
  }

  override get visibleSegmentEquivalencePolicy(): VisibleSegmentEquivalencePolicy {
    return VisibleSegmentEquivalencePolicy.MIN_REPRESENTATIVE;
  }

  /** The representative of a fragment's segment. */
  root(id: bigint): bigint {
    return this.partition.find(id);
  }

  /** Takes over the automatic segments that the worker has found. */
  receive(message: EquivalencesMessage): void {
    this.automaticPairs = message.pairs;
    const { splits } = this.state.options;
    const isImpossible = ([a, b]: FragmentPair): boolean =>
      message.impossible.some(([c, d]) => a === c && b === d);
    if (splits.some(isImpossible)) {
      this.state.update({ splits: splits.filter((s) => !isImpossible(s)) });
    }
    const due = this.pendingSplits.filter(
      ({ generation }) => generation <= message.generation,
    );
    this.pendingSplits = this.pendingSplits.filter((p) => !due.includes(p));
    for (const { pair } of due) {
      // What the user has joined by hand may still hold the two together.
      const { merges } = withSplit(
        this.automaticPairs,
        this.state.options,
        pair,
      );
      this.state.update({ merges });
    }
    this.publish();
    for (const { pair, resolve, reject } of due) {
      if (this.root(pair[0]) === this.root(pair[1])) {
        reject(
          new Error(
            "these two fragments touch with full affinity at every threshold",
          ),
        );
      } else {
        resolve();
      }
    }
  }

  override async merge(a: bigint, b: bigint): Promise<bigint> {
    this.edit(withMerge(this.automaticPairs, this.state.options, [a, b]));
    this.publish();
    return this.root(a);
  }

  get canUndo(): boolean {
    return this.history.length > 0;
  }

  /** Gives up the latest merge or split made in this page. */
  undo(): void {
    const before = this.history.pop();
    if (before === undefined) return;
    this.state.update(before);
    this.publish();
  }

  private edit(edits: Edits): void {
    const { merges, splits } = this.state.options;
    this.history.push({ merges, splits });
    this.state.update({ merges: edits.merges, splits: edits.splits });
    this.refresh();
  }

  private refresh(): void {
    this.partition = partitionOf(
      this.automaticPairs,
      this.state.options.merges,
    );
  }

  override async split(
    include: bigint,
    exclude: bigint,
  ): Promise<{ include: bigint; exclude: bigint }> {
    if (include === exclude) {
      throw new Error(
        "both points lie in one fragment, which is the smallest unit",
      );
    }
    const pair: FragmentPair = [include, exclude];
    this.edit(withSplit(this.automaticPairs, this.state.options, pair));
    if (this.root(include) === this.root(exclude)) {
      await this.waitForSplit(pair);
    } else {
      this.publish();
    }
    return { include: this.root(include), exclude: this.root(exclude) };
  }

  private waitForSplit(pair: FragmentPair): Promise<void> {
    const session = this.session.value;
    if (session === undefined) {
      return Promise.reject(new Error("the layer is not shown"));
    }
    const generation = session.sendSettings();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.pendingSplits = this.pendingSplits.filter((p) => p !== pending);
        reject(new Error("the segmentation worker does not answer"));
      }, SPLIT_TIMEOUT_MS);
      const pending: PendingSplit = {
        generation,
        pair,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.pendingSplits.push(pending);
    });
  }

  /** Edits refer to fragments, which never change, so nothing has to follow. */
  override trackSegment(): () => void {
    return () => {};
  }

  override connect(
    layer: SegmentationUserLayer,
  ): SegmentationGraphSourceConnection {
    const connection = new TokenUnifyGraphConnection(
      this,
      layer.displayState.segmentationGroupState.value,
    );
    if (this.connections.size === 0) this.onConnected(true);
    this.connections.add(connection);
    connection.registerDisposer(() => {
      this.connections.delete(connection);
      if (this.connections.size === 0) this.onConnected(false);
    });
    this.publish();
    return connection;
  }

  override tabContents(
    layer: SegmentationUserLayer,
    context: DependentViewContext,
    _tab: SegmentationGraphSourceTab,
  ): HTMLDivElement {
    return graphTabContents(this, layer, context);
  }

  /** Brings every connected layer to the present segments. */
  publish(): void {
    this.refresh();
    const target = this.partition;
    for (const { segmentsState } of this.connections) {
      const { segmentEquivalences } = segmentsState;
      publishPartition(
        {
          get: (id) => segmentEquivalences.get(id),
          link: (a, b) => segmentEquivalences.link(a, b),
          deleteSet: (id) => segmentEquivalences.deleteSet(id),
          mappings: () => segmentEquivalences.disjointSets.mappings(),
        },
        target,
      );
      normalizeSelection(segmentsState);
    }
    this.changed.dispatch();
  }
}

/** A selected fragment stands for its segment: replace it by the root. */
function normalizeSelection(state: VisibleSegmentsState): void {
  for (const set of [state.selectedSegments, state.visibleSegments]) {
    for (const id of [...set]) {
      const root = state.segmentEquivalences.get(id);
      if (id === root) continue;
      set.delete(id);
      set.add(root);
    }
  }
}

export class TokenUnifyGraphConnection extends SegmentationGraphSourceConnection<TokenUnifyGraph> {
  constructor(graph: TokenUnifyGraph, segmentsState: VisibleSegmentsState) {
    super(graph, segmentsState);
    this.registerDisposer(
      segmentsState.visibleSegments.changed.add(() => {
        // Not from inside the signal, which is sent while the set changes.
        queueMicrotask(() => {
          if (!this.wasDisposed) normalizeSelection(segmentsState);
        });
      }),
    );
  }

  /** A preview would need the worker; the tools do without. */
  override computeSplit(): ComputedSplit | undefined {
    return undefined;
  }
}
