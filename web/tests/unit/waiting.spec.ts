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
import { retry } from "../../src/tokenunify/retry.js";
import { Throttle } from "../../src/tokenunify/throttle.js";

const never = new AbortController().signal;

describe("retry", () => {
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => {
    waits.push(ms);
  };
  beforeEach(() => {
    waits.length = 0;
  });

  it("tries four times with growing waits, then gives the last error", async () => {
    let attempts = 0;
    const failing = async (): Promise<never> => {
      throw new Error(`attempt ${++attempts}`);
    };
    await expect(retry(failing, () => true, never, wait)).rejects.toThrow(
      "attempt 4",
    );
    expect(waits.length).toBe(3);
    waits.forEach((ms, i) => {
      expect(ms).toBeGreaterThanOrEqual(500 * 2 ** i);
      expect(ms).toBeLessThanOrEqual(750 * 2 ** i);
    });
  });

  it("does not repeat what cannot succeed, nor what was aborted", async () => {
    let attempts = 0;
    const failing = async (): Promise<never> => {
      ++attempts;
      throw new Error("no");
    };
    await expect(retry(failing, () => false, never, wait)).rejects.toThrow();
    await expect(
      retry(failing, () => true, AbortSignal.abort(), wait),
    ).rejects.toThrow();
    expect(attempts).toBe(2);
  });

  it("gives the result of the attempt that succeeds", async () => {
    let attempts = 0;
    const action = async (): Promise<number> => {
      if (++attempts < 3) throw new Error("not yet");
      return attempts;
    };
    expect(await retry(action, () => true, never, wait)).toBe(3);
  });

  it("an abort ends the wait", async () => {
    const controller = new AbortController();
    const result = retry(
      async () => {
        setTimeout(() => controller.abort(new Error("scrolled away")), 1);
        throw new Error("not yet");
      },
      () => true,
      controller.signal,
    );
    await expect(result).rejects.toThrow("scrolled away");
  });
});

describe("Throttle", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("runs at once, then at most once per interval, and never drops the last change", async () => {
    const runs: number[] = [];
    const throttle = new Throttle(300, () => {
      runs.push(performance.now());
    });
    const start = performance.now();
    for (let t = 0; t < 1000; t += 50) {
      throttle.schedule();
      await vi.advanceTimersByTimeAsync(50);
    }
    await vi.advanceTimersByTimeAsync(1000);
    const gaps = runs.slice(1).map((t, i) => t - runs[i]!);
    expect(runs[0]! - start).toBeLessThan(50);
    expect(gaps.every((gap) => gap >= 300)).toBe(true);
    expect(runs.at(-1)! - start).toBeGreaterThanOrEqual(950);
  });

  it("waits longer when the action asks for it", async () => {
    let runs = 0;
    const throttle = new Throttle(100, async () => {
      ++runs;
      return 5000;
    });
    throttle.schedule();
    await vi.advanceTimersByTimeAsync(10);
    throttle.schedule();
    await vi.advanceTimersByTimeAsync(4900);
    expect(runs).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(runs).toBe(2);
  });
});
