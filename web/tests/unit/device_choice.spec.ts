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
import { INITIAL_STATUS } from "../../src/tokenunify/base.js";
import {
  chooseDevice,
  choosePrecision,
  isSoftwareAdapter,
} from "../../src/tokenunify/device_choice.js";
import { deviceNotice, fallbackCause } from "../../src/tokenunify/notices.js";
import { deviceText } from "../../src/tokenunify/status.js";
import type { ModelInfo } from "../../src/tokenunify/wasm_api.js";

const gpu = (description: string, fallback = false) => ({
  description,
  fallback,
});

describe("isSoftwareAdapter", () => {
  it.each([
    "google swiftshader",
    "mesa llvmpipe (LLVM 19.1.7, 256 bits)",
    "Microsoft Basic Render Driver",
    "microsoft warp",
  ])("%s is one", (description) => {
    expect(isSoftwareAdapter(gpu(description))).toBe(true);
  });

  it.each([
    "apple metal-3",
    "nvidia ampere",
    "intel gen-12lp",
    "unnamed adapter",
    "vendor warped-2",
  ])("%s is none", (description) => {
    expect(isSoftwareAdapter(gpu(description))).toBe(false);
  });

  it("the browser's own word for it counts", () => {
    expect(isSoftwareAdapter(gpu("unnamed adapter", true))).toBe(true);
  });
});

describe("chooseDevice", () => {
  it("auto is a GPU, and the CPU without one or with a stand-in for one", () => {
    expect(chooseDevice("auto", gpu("apple metal-3"))).toEqual({
      device: "webgpu",
      gpuRefused: "",
    });
    expect(chooseDevice("auto", undefined)).toEqual({
      device: "cpu",
      gpuRefused: "",
    });
    const software = chooseDevice("auto", gpu("google swiftshader"));
    expect(software.device).toBe("cpu");
    expect(software.gpuRefused).toMatch(/^google swiftshader is a software/);
  });

  it("what was asked for by name is taken", () => {
    for (const device of ["webgpu", "cpu"] as const) {
      expect(chooseDevice(device, undefined)).toEqual({
        device,
        gpuRefused: "",
      });
    }
  });
});

describe("choosePrecision", () => {
  it("auto is f16 where the device has it; what was named stays", () => {
    expect(choosePrecision("auto", true)).toBe("f16");
    expect(choosePrecision("auto", false)).toBe("f32");
    for (const offered of [true, false]) {
      expect(choosePrecision("f32", offered)).toBe("f32");
      expect(choosePrecision("f16", offered)).toBe("f16");
    }
  });
});

describe("what a user reads", () => {
  const info = (refused?: string): ModelInfo =>
    ({ precision: "f32", precision_refused: refused }) as ModelInfo;
  const line = (changes: object): string =>
    deviceText({ ...INITIAL_STATUS, phase: "ready", ...changes });

  it("is device, type and adapter", () => {
    expect(
      line({ device: "webgpu", precision: "f16", adapter: "apple metal-3" }),
    ).toBe("WebGPU, f16 (apple metal-3)");
    expect(line({ device: "cpu", adapter: "cpu" })).toBe("CPU, f32");
  });

  it("is also the cause of what is slower than it could be", () => {
    const wrong = "on adapter x the network's known answer is missed";
    const onCpu = fallbackCause("auto", "cpu", wrong, info());
    expect(line({ device: "cpu", adapter: "cpu", fallback: onCpu })).toBe(
      `CPU, f32: ${wrong}`,
    );
    expect(deviceNotice("auto", "cpu", wrong)?.text).toContain(wrong);
    expect(fallbackCause("auto", "cpu", "", info())).toMatch(/not available/);
    expect(fallbackCause("webgpu", "webgpu", "", info("no f16"))).toBe(
      "no f16",
    );
  });

  it("is no cause where nothing was given up", () => {
    expect(fallbackCause("auto", "webgpu", "", info())).toBe("");
    expect(fallbackCause("cpu", "cpu", "", info("the CPU has no f16"))).toBe(
      "",
    );
  });
});
