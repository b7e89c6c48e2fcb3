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
import type { WorkerPort } from "../../src/tokenunify/segmentation_client.js";
import { SegmentationClient } from "../../src/tokenunify/segmentation_client.js";
import type { ModelEntry } from "../../src/tokenunify/manifest.js";
import type { PrecisionRequest } from "../../src/tokenunify/wasm_api.js";
import type {
  FromWorker,
  OpenAnswer,
  OpenRequest,
  ToWorker,
} from "../../src/tokenunify/worker_protocol.js";

/** A worker whose answers the test gives: no real device is lost on demand. */
class ScriptedWorker implements WorkerPort {
  onmessage: WorkerPort["onmessage"] = null;
  onerror: WorkerPort["onerror"] = null;
  readonly received: ToWorker[] = [];
  terminated = false;

  postMessage(message: ToWorker): void {
    this.received.push(message);
  }
  terminate(): void {
    this.terminated = true;
  }
  say(data: FromWorker): void {
    this.onmessage?.({ data } as MessageEvent<FromWorker>);
  }
  get lastJob(): number {
    const last = this.received.at(-1);
    return last !== undefined && "job" in last ? last.job : -1;
  }
  get device(): string | undefined {
    return this.openRequest?.device;
  }
  get precision(): string | undefined {
    return this.openRequest?.precision;
  }
  private get openRequest(): OpenRequest | undefined {
    const [first] = this.received;
    return first?.kind === "request" && first.request.type === "open"
      ? first.request
      : undefined;
  }
  open(): void {
    const answer = { device: "cpu", adapter: "" } as OpenAnswer;
    this.say({ kind: "answer", job: this.lastJob, answer });
  }
  fail(code: string): void {
    const failure = { code, message: code, hint: "hint", retryable: true };
    this.say({ kind: "failure", job: this.lastJob, failure });
  }
}

const MODEL = { id: "m" } as ModelEntry;
const GRID = {
  volumeZyx: [1, 1, 1],
  tileZyx: [1, 1, 1],
  haloZyx: [0, 0, 0],
} as const;

function start(precision: PrecisionRequest = "f32") {
  const workers: ScriptedWorker[] = [];
  const events = {
    onOpened: vi.fn(),
    onModelBytes: vi.fn(),
    onRestart: vi.fn(),
    onFailed: vi.fn(),
  };
  const client = new SegmentationClient(
    {
      type: "open",
      model: MODEL,
      device: "auto",
      precision,
      grid: GRID,
    },
    events,
    () => {
      const worker = new ScriptedWorker();
      workers.push(worker);
      return worker;
    },
  );
  const recall = (signal?: AbortSignal) =>
    client.request<"recall">({ type: "recall", indexZyx: [0, 0, 0] }, signal);
  return { workers, events, client, recall };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

describe("SegmentationClient", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("asks only once the model is loaded", async () => {
    const { workers, events, recall } = start();
    const answer = recall();
    await settle();
    expect(workers[0]!.received.length).toBe(1);
    workers[0]!.open();
    await settle();
    expect(events.onOpened).toHaveBeenCalledOnce();
    workers[0]!.say({
      kind: "answer",
      job: workers[0]!.lastJob,
      answer: { labels: null, cachedBytes: 7 },
    });
    expect(await answer).toEqual({ labels: null, cachedBytes: 7 });
  });

  it("passes a cancellation on", async () => {
    const { workers, recall } = start();
    workers[0]!.open();
    const controller = new AbortController();
    const answer = recall(controller.signal);
    await settle();
    const job = workers[0]!.lastJob;
    controller.abort(new Error("scrolled away"));
    await expect(answer).rejects.toThrow("scrolled away");
    expect(workers[0]!.received.at(-1)).toEqual({ kind: "cancel", job });
  });

  it("one failed run is an error, two in a row a lost device", async () => {
    const { workers, events, recall } = start();
    workers[0]!.open();
    for (const restarts of [0, 1]) {
      const answer = recall();
      answer.catch(() => {});
      await settle();
      workers[0]!.fail("network");
      await expect(answer).rejects.toThrow("network hint");
      expect(events.onRestart).toHaveBeenCalledTimes(restarts);
    }
    expect(workers[0]!.terminated).toBe(true);
  });

  it("restarts with a wait, then on the CPU, then gives up", async () => {
    const { workers, events, recall } = start();
    workers[0]!.open();
    await settle();
    workers[0]!.onerror?.({ message: "unreachable" } as ErrorEvent);
    expect(workers.length).toBe(1);
    const waiting = recall();
    await vi.advanceTimersByTimeAsync(1000);
    expect(workers.map((w) => w.device)).toEqual(["auto", "auto"]);
    workers[1]!.open();
    await settle();
    workers[1]!.say({
      kind: "answer",
      job: workers[1]!.lastJob,
      answer: { labels: null, cachedBytes: 0 },
    });
    await waiting;

    workers[1]!.fail("worker_lost");
    await vi.advanceTimersByTimeAsync(2000);
    expect(workers.map((w) => w.device)).toEqual(["auto", "auto", "cpu"]);
    workers[2]!.fail("worker_lost");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(workers.length).toBe(3);
    expect(events.onFailed).toHaveBeenCalledOnce();
    await expect(recall()).rejects.toThrow("worker_lost");
  });

  it("a worker lost while it opens is started again in f32, a later one as it was", async () => {
    const early = start("auto");
    early.workers[0]!.fail("worker_lost");
    await vi.advanceTimersByTimeAsync(1000);
    expect(early.workers.map((w) => w.precision)).toEqual(["auto", "f32"]);

    const late = start("auto");
    late.workers[0]!.open();
    await settle();
    late.workers[0]!.onerror?.({ message: "device lost" } as ErrorEvent);
    await vi.advanceTimersByTimeAsync(1000);
    expect(late.workers.map((w) => w.precision)).toEqual(["auto", "auto"]);
  });

  it("a model that cannot be loaded is reported once and fails every request", async () => {
    const { workers, events, recall } = start();
    const answer = recall();
    answer.catch(() => {});
    workers[0]!.fail("model_hash");
    await expect(answer).rejects.toThrow("model_hash hint");
    expect(events.onFailed).toHaveBeenCalledOnce();
    expect(events.onRestart).not.toHaveBeenCalled();
  });

  it("dispose ends the worker and what waits for it", async () => {
    const { workers, client, events, recall } = start();
    workers[0]!.open();
    await settle();
    const answer = recall();
    answer.catch(() => {});
    await settle();
    client.dispose();
    await expect(answer).rejects.toThrow("removed");
    expect(workers[0]!.terminated).toBe(true);
    expect(events.onFailed).not.toHaveBeenCalled();
  });
});
