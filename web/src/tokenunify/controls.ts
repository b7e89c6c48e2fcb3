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
 * @file The threshold slider in the "Render" tab of a TokenUnify layer.
 */

import type { SegmentationUserLayer } from "neuroglancer/unstable/layer/segmentation/index.js";
import { SegmentationUserLayer as SegmentationLayerClass } from "neuroglancer/unstable/layer/segmentation/index.js";
import { LAYER_CONTROLS } from "neuroglancer/unstable/layer/segmentation/layer_controls.js";
import type { WatchableValueInterface } from "neuroglancer/unstable/trackable_value.js";
import { makeCachedDerivedWatchableValue } from "neuroglancer/unstable/trackable_value.js";
import { NullarySignal } from "neuroglancer/unstable/util/signal.js";
import type { LayerControlDefinition } from "neuroglancer/unstable/widget/layer_control.js";
import { registerLayerControl } from "neuroglancer/unstable/widget/layer_control.js";
import type { RangeWidget } from "neuroglancer/unstable/widget/range.js";
import { rangeLayerControl } from "neuroglancer/unstable/widget/layer_control_range.js";
import { TokenUnifyGraph } from "./graph.js";

/** Shown until the model has said what its own threshold is. */
const PROVISIONAL_THRESHOLD = 0.5;

/** The threshold that a layer uses: the user's, or else the model's. */
export class ThresholdValue implements WatchableValueInterface<number> {
  readonly changed = new NullarySignal();

  constructor(private readonly graph: TokenUnifyGraph) {
    graph.state.changed.add(this.changed.dispatch);
    graph.changed.add(this.changed.dispatch);
  }

  get value(): number {
    return (
      this.graph.state.options.threshold ??
      this.graph.session.value?.status.value.modelThreshold ??
      PROVISIONAL_THRESHOLD
    );
  }

  set value(threshold: number) {
    if (threshold !== this.value) this.graph.state.update({ threshold });
  }
}

const thresholds = new WeakMap<TokenUnifyGraph, ThresholdValue>();

function thresholdOf(layer: SegmentationUserLayer): ThresholdValue {
  const graph = layer.displayState.segmentationGroupState.value.graph.value;
  if (!(graph instanceof TokenUnifyGraph)) {
    throw new Error("Not a TokenUnify layer.");
  }
  let threshold = thresholds.get(graph);
  if (threshold === undefined) {
    threshold = new ThresholdValue(graph);
    thresholds.set(graph, threshold);
  }
  return threshold;
}

const thresholdControl: LayerControlDefinition<
  SegmentationUserLayer,
  RangeWidget
> = {
  label: "Merge threshold",
  title:
    "Fragments are merged while 1 − affinity is below this; " +
    "higher joins more. No new inference is needed.",
  toolJson: "tokenunifyThreshold",
  isValid: (layer) =>
    makeCachedDerivedWatchableValue(
      (graph: unknown) => graph instanceof TokenUnifyGraph,
      [layer.displayState.segmentationGroupState.value.graph],
    ),
  ...rangeLayerControl<SegmentationUserLayer>((layer) => ({
    value: thresholdOf(layer),
    options: { min: 0, max: 1, step: 0.01 },
  })),
};

export function registerControls(): void {
  // Neuroglancer's list forgets what kind of widget each control makes.
  const control =
    thresholdControl as LayerControlDefinition<SegmentationUserLayer>;
  LAYER_CONTROLS.push(control);
  registerLayerControl(SegmentationLayerClass, control);
}
