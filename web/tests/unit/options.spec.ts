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
import { optionsToJson, parseOptions } from "../../src/tokenunify/options.js";
import { LayerState } from "../../src/tokenunify/state.js";

const FULL = {
  model: "small",
  threshold: 0.25,
  concurrency: 4,
  device: "cpu",
  precision: "f16",
  merges: [["1", "18446744073709551615"]],
  splits: [
    ["7", "9"],
    ["9", "12345678901234567890"],
  ],
};

describe("layer options", () => {
  it("survive a round trip through JSON with ids of 64 bits", () => {
    const state = new LayerState(parseOptions(undefined));
    state.restoreState(JSON.parse(JSON.stringify(FULL)));
    expect(state.options.merges).toEqual([[1n, 18446744073709551615n]]);
    expect(state.toJSON()).toEqual(FULL);
  });

  it("defaults are not written", () => {
    expect(optionsToJson(parseOptions({}))).toBeUndefined();
    expect(optionsToJson(parseOptions({ threshold: 0 }))).toEqual({
      threshold: 0,
    });
  });

  it("a change is signalled and a reset goes back to the defaults", () => {
    const state = new LayerState(parseOptions(FULL));
    let signals = 0;
    state.changed.add(() => {
      ++signals;
    });
    state.update({ threshold: 0.75 });
    expect(state.toJSON()).toEqual({ ...FULL, threshold: 0.75 });
    state.reset();
    expect(state.toJSON()).toBeUndefined();
    expect(signals).toBe(2);
  });

  it("keys of a later version are ignored", () => {
    expect(optionsToJson(parseOptions({ model: "m", later: 1 }))).toEqual({
      model: "m",
    });
  });

  it.each([
    [[], /"state"/],
    ["x", /"state"/],
    [{ model: 3 }, /"model"/],
    [{ threshold: "0.5" }, /"threshold"/],
    [{ threshold: Number.NaN }, /"threshold"/],
    [{ concurrency: 2.5 }, /"concurrency"/],
    [{ precision: "bf16" }, /"auto", "f32" or "f16"/],
    [{ merges: [["1"]] }, /a pair of ids/],
    [{ merges: [["1", 2]] }, /a fragment id/],
    [{ splits: [["0", "5"]] }, /a fragment id/],
    [{ splits: [["1", "18446744073709551616"]] }, /a fragment id/],
    [{ splits: "1,2" }, /a list of pairs/],
  ])("refuses %j and says what is expected", (json, message) => {
    expect(() => parseOptions(json)).toThrow(message);
  });
});
