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
import { demoState, parseDemo } from "../../src/demo_state.js";

const BASE = new URL("http://127.0.0.1:8000/demo.json");

describe("the demo's state", () => {
  it("shows the volume and its segmentation at a place and scale", () => {
    const demo = parseDemo({
      volume_url: "/data/phantom.zarr/raw/|zarr3:",
      title: "Synthetic EM",
      position: [1, 2, 3],
      dimensions: { x: [8e-9, "m"], y: [8e-9, "m"], z: [30e-9, "m"] },
      crossSectionScale: 0.5,
    });
    const volume = "http://127.0.0.1:8000/data/phantom.zarr/raw/|zarr3:";
    expect(demoState(demo, BASE)).toMatchObject({
      position: [1, 2, 3],
      crossSectionScale: 0.5,
      layers: [
        { type: "image", source: volume },
        { type: "segmentation", source: { url: `${volume}|tokenunify:` } },
      ],
    });
  });

  it("gives no scale without dimensions, for it would be in metres", () => {
    const demo = parseDemo({
      volume_url: "https://h/x.zarr",
      crossSectionScale: 0.5,
    });
    expect(demoState(demo, BASE)).not.toHaveProperty("crossSectionScale");
  });

  it("hands the segmentation its options", () => {
    const demo = parseDemo({
      volume_url: "https://h/x.zarr",
      state: { device: "cpu" },
    });
    expect(demoState(demo, BASE)).toMatchObject({
      layers: [{}, { source: { state: { device: "cpu" } } }],
    });
  });

  it("refuses a demo without a volume", () => {
    expect(() => parseDemo({})).toThrow(/volume_url/);
    expect(() => parseDemo(null)).toThrow(/JSON object/);
  });
});
