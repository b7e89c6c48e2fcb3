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
import {
  canonicalUrl,
  completionOffset,
  parseOptionQuery,
  pipelineForm,
} from "../../src/tokenunify/url.js";

describe("parseOptionQuery", () => {
  it("reads nothing as the defaults", () => {
    for (const suffix of [undefined, "", "//", "?"]) {
      expect(parseOptionQuery(suffix)).toEqual({
        model: undefined,
        threshold: undefined,
        concurrency: 2,
        device: "auto",
        precision: "auto",
        merges: [],
        splits: [],
      });
    }
  });

  it("reads model, threshold, concurrency, device and precision", () => {
    expect(
      parseOptionQuery(
        "?model=https%3A%2F%2Fh%2Fm.json%23tiny&threshold=0.35&concurrency=3&device=cpu&precision=f16",
      ),
    ).toMatchObject({
      model: "https://h/m.json#tiny",
      threshold: 0.35,
      concurrency: 3,
      device: "cpu",
      precision: "f16",
    });
  });

  it.each([
    ["?treshold=0.5", /Unknown option "treshold"/],
    ["?threshold=2", /number from 0 to 1/],
    ["?threshold=", /number from 0 to 1/],
    ["?concurrency=0", /integer from 1/],
    ["?device=gpu", /"auto", "webgpu" or "cpu"/],
    ["?precision=f8", /"f32" or "f16"/],
    ["?model=a&model=b", /given twice/],
    ["?model=", /model id or URL/],
    ["s0", /Unexpected "s0"/],
  ])("refuses %s", (suffix, message) => {
    expect(() => parseOptionQuery(suffix)).toThrow(message);
  });
});

describe("URL forms", () => {
  it("a scheme in front of a pipeline moves to its end", () => {
    expect(pipelineForm("tokenunify://https://h/x/|zarr3:")).toBe(
      "https://h/x/|zarr3:|tokenunify:",
    );
    for (const url of [
      "tokenunify://https://h/x/",
      "https://h/x/|zarr3:|tokenunify:",
      "precomputed://https://h/x",
    ]) {
      expect(pipelineForm(url)).toBe(url);
    }
  });

  it("the canonical form follows the wrapped URL", () => {
    expect(canonicalUrl("https://h/x/|zarr3:")).toBe(
      "https://h/x/|zarr3:|tokenunify:",
    );
    expect(canonicalUrl("boss://https://h/x")).toBe(
      "tokenunify://boss://https://h/x",
    );
  });

  it("completion starts behind the last bar", () => {
    expect(completionOffset("https://h/x/|")).toBe(13);
    expect(completionOffset("https://h/x/|zarr3:|tok")).toBe(20);
    expect(completionOffset("https://h/x/|zarr")).toBeUndefined();
    expect(completionOffset("tok")).toBeUndefined();
  });
});
