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
 * @file Contents of a TokenUnify layer's "Graph" tab: tools, state, counts.
 */

import "./graph_tab.css";
import type { SegmentationUserLayer } from "neuroglancer/unstable/layer/segmentation/index.js";
import { makeToolButton } from "neuroglancer/unstable/ui/tool.js";
import {
  ANNOTATE_MERGE_SEGMENTS_TOOL_ID,
  ANNOTATE_SPLIT_SEGMENTS_TOOL_ID,
} from "neuroglancer/unstable/ui/segment_split_merge_tools.js";
import type { DependentViewContext } from "neuroglancer/unstable/widget/dependent_view_widget.js";
import { INITIAL_STATUS } from "./base.js";
import type { TokenUnifyGraph } from "./graph.js";
import { deviceText, memoryText, tilesText } from "./status.js";

function addElement<K extends keyof HTMLElementTagNameMap>(
  parent: HTMLElement,
  tag: K,
  className: string,
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  parent.appendChild(element);
  return element;
}

/** Contents of the layer's "Graph" tab. */
export function graphTabContents(
  graph: TokenUnifyGraph,
  layer: SegmentationUserLayer,
  context: DependentViewContext,
): HTMLDivElement {
  const root = document.createElement("div");
  root.className = "neuroglancer-tokenunify-graph";

  const toolbox = addElement(root, "div", "neuroglancer-segmentation-toolbox");
  for (const [toolJson, label, title] of [
    [
      ANNOTATE_MERGE_SEGMENTS_TOOL_ID,
      "Merge",
      "Join two segments: right click sets the anchor, left click joins",
    ],
    [
      ANNOTATE_SPLIT_SEGMENTS_TOOL_ID,
      "Split",
      "Cut a segment: right click sets the anchor, left click cuts there",
    ],
  ] as const) {
    toolbox.appendChild(
      makeToolButton(context, layer.toolBinder, { toolJson, label, title }),
    );
  }

  const table = addElement(root, "dl", "neuroglancer-tokenunify-status");
  const row = (name: string): HTMLElement => {
    addElement(table, "dt", "").textContent = name;
    return addElement(table, "dd", "");
  };
  const device = row("Device");
  const model = row("Model");
  const tiles = row("Tiles");
  const merges = row("Merges");
  const memory = row("Memory");
  const notice = addElement(root, "div", "neuroglancer-tokenunify-notice");

  const buttons = addElement(root, "div", "neuroglancer-tokenunify-buttons");
  const button = (
    label: string,
    title: string,
    action: () => void,
  ): HTMLButtonElement => {
    const element = addElement(buttons, "button", "");
    element.textContent = label;
    element.title = title;
    context.registerEventListener(element, "click", action);
    return element;
  };
  const retry = button("Retry failed tiles", "Ask for failed tiles again", () =>
    graph.session.value?.retry(),
  );
  const undo = button(
    "Undo last edit",
    "Give up the latest merge or split of this layer",
    () => graph.undo(),
  );

  const update = (): void => {
    const session = graph.session.value;
    const status = session?.status.value ?? INITIAL_STATUS;
    const { automaticMerges, userMerges, userSplits } = graph.summary;
    device.textContent = deviceText(status);
    model.textContent = session?.parameters.model.title ?? "";
    tiles.textContent = tilesText(status);
    merges.textContent = `${automaticMerges} automatic, ${userMerges} yours; ${userSplits} splits`;
    memory.textContent = memoryText(status);
    notice.textContent = status.notice?.text ?? "";
    notice.dataset["severity"] = status.notice?.severity ?? "";
    retry.disabled = status.tiles.failed === 0 && status.phase !== "failed";
    undo.disabled = !graph.canUndo;
  };
  context.registerDisposer(graph.changed.add(update));
  context.registerDisposer(graph.state.changed.add(update));
  update();
  return root;
}
