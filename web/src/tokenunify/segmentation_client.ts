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
 * @file The chunk worker's handle on the segmentation worker: requests with
 * cancellation, and a new worker when the device is lost.
 */

import type { DeviceRequest, EngineFailure } from "./wasm_api.js";
import type {
  FromWorker,
  OpenAnswer,
  OpenRequest,
  RequestType,
  RequestTypes,
  ToWorker,
} from "./worker_protocol.js";
import { NETWORK_FAILED, WORKER_LOST } from "./worker_protocol.js";
import type { Zyx } from "./zyx.js";

/** An {@link EngineFailure} as an Error. */
export class SegmentationError extends Error {
  override readonly name = "SegmentationError";
  constructor(readonly failure: EngineFailure) {
    super(
      failure.hint === ""
        ? failure.message
        : `${failure.message} ${failure.hint}`,
    );
  }
}

/** The part of a Worker that is used; a test may hand in its own. */
export interface WorkerPort {
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: ToWorker, transfer: Transferable[]): void;
  terminate(): void;
}

export interface ClientEvents {
  onOpened(answer: OpenAnswer): void;
  onModelBytes(bytes: number): void;
  /** A worker was lost; a new one is about to start. */
  onRestart(failure: EngineFailure, device: DeviceRequest): void;
  /** No worker can run; every request fails from now on. */
  onFailed(failure: EngineFailure): void;
}

interface PendingJob {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

const RESTART_DELAY_MS = 1000;
/** So many failed runs in a row mean that the device is lost. */
const FAILURES_BEFORE_RESTART = 2;

function startWorker(): WorkerPort {
  return new Worker(new URL("./segmentation_worker.ts", import.meta.url), {
    type: "module",
  }) as unknown as WorkerPort;
}

export class SegmentationClient {
  private worker: WorkerPort | undefined;
  private readonly jobs = new Map<number, PendingJob>();
  private nextJob = 0;
  private restarts = 0;
  /** Runs of the network that failed one after the other. */
  private networkFailures = 0;
  private disposed = false;
  private restartTimer: ReturnType<typeof setTimeout> | undefined;
  /** A worker has had its model. */
  private everOpened = false;
  /** Resolves once the current worker has its model. */
  private opened: Promise<OpenAnswer>;

  constructor(
    private readonly openRequest: OpenRequest,
    private readonly events: ClientEvents,
    private readonly makeWorker: () => WorkerPort = startWorker,
  ) {
    this.opened = this.open(openRequest.device);
  }

  /** Waits for the model, then asks. */
  async request<T extends Exclude<RequestType, "open">>(
    request: RequestTypes[T]["request"],
    signal?: AbortSignal,
    transfer: Transferable[] = [],
  ): Promise<RequestTypes[T]["answer"]> {
    await this.opened;
    signal?.throwIfAborted();
    return this.send<T>(request, signal, transfer);
  }

  release(indexZyx: Zyx): void {
    this.worker?.postMessage({ kind: "release", indexZyx }, []);
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.restartTimer);
    this.stop({
      code: WORKER_LOST,
      message: "The layer was removed.",
      hint: "",
      retryable: false,
    });
  }

  private open(device: DeviceRequest): Promise<OpenAnswer> {
    const worker = this.makeWorker();
    this.worker = worker;
    worker.onmessage = ({ data }) => this.receive(data);
    worker.onerror = (event) => {
      this.lost({
        code: WORKER_LOST,
        message: `The segmentation worker stopped: ${event.message ?? "it could not be loaded"}.`,
        hint: "",
        retryable: true,
      });
    };
    // A worker that was lost while it opened may have met a compiler that does
    // not know the f16 that its adapter offers.
    const precision =
      this.restarts > 0 && !this.everOpened
        ? "f32"
        : this.openRequest.precision;
    const request = { ...this.openRequest, device, precision };
    const opened = this.send<"open">(request);
    opened.then(
      (answer) => {
        this.everOpened = true;
        this.events.onOpened(answer);
      },
      (error: unknown) => {
        if (
          this.worker !== worker ||
          this.disposed ||
          !(error instanceof SegmentationError)
        ) {
          return;
        }
        this.events.onFailed(error.failure);
      },
    );
    return opened;
  }

  private send<T extends RequestType>(
    request: RequestTypes[T]["request"],
    signal?: AbortSignal,
    transfer: Transferable[] = [],
  ): Promise<RequestTypes[T]["answer"]> {
    const job = this.nextJob++;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.jobs.delete(job);
        this.worker?.postMessage({ kind: "cancel", job }, []);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const settle = (): void => {
        this.jobs.delete(job);
        signal?.removeEventListener("abort", onAbort);
      };
      this.jobs.set(job, {
        resolve: (answer) => {
          settle();
          resolve(answer as RequestTypes[T]["answer"]);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.worker?.postMessage(
        { kind: "request", job, request } as ToWorker,
        transfer,
      );
    });
  }

  private receive(message: FromWorker): void {
    switch (message.kind) {
      case "model":
        this.events.onModelBytes(message.bytes);
        break;
      case "answer":
        if ("labels" in message.answer && message.answer.labels !== null) {
          this.networkFailures = 0;
        }
        this.jobs.get(message.job)?.resolve(message.answer);
        break;
      case "failure": {
        const { failure } = message;
        if (failure.code === NETWORK_FAILED) ++this.networkFailures;
        if (
          failure.code === WORKER_LOST ||
          this.networkFailures >= FAILURES_BEFORE_RESTART
        ) {
          this.lost(failure);
        } else {
          this.jobs.get(message.job)?.reject(new SegmentationError(failure));
        }
        break;
      }
    }
  }

  private stop(failure: EngineFailure): void {
    this.worker?.terminate();
    this.worker = undefined;
    for (const job of [...this.jobs.values()]) {
      job.reject(new SegmentationError(failure));
    }
  }

  /**
   * The first loss restarts on the same device, the second on the CPU; after
   * that the layer gives up rather than restart for ever.
   */
  private lost(failure: EngineFailure): void {
    if (this.disposed || this.worker === undefined) return;
    ++this.restarts;
    this.networkFailures = 0;
    if (this.restarts > 2) {
      this.opened = Promise.reject(new SegmentationError(failure));
      this.opened.catch(() => {});
      this.stop(failure);
      this.events.onFailed(failure);
      return;
    }
    const device = this.restarts === 1 ? this.openRequest.device : "cpu";
    this.opened = new Promise((resolve, reject) => {
      this.restartTimer = setTimeout(() => {
        this.open(device).then(resolve, reject);
      }, RESTART_DELAY_MS * this.restarts);
    });
    this.opened.catch(() => {});
    this.stop({ ...failure, retryable: true });
    this.events.onRestart(failure, device);
  }
}
