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
 * @file The worker that owns the wasm module: network, fragments, region graph.
 *
 * It is started by Neuroglancer's chunk worker.  Runs of the network follow one
 * another, since there is one device; a cancelled one is dropped if it has not
 * begun.  A run cannot be stopped, so its affinities are kept for the next time
 * that the tile comes into view.
 *
 * Affinities of finished tiles are kept up to a number of bytes.  A tile stays
 * in the region graph while its affinities are kept or the viewer still holds
 * its labels, so segments never lose a part that is on the screen.
 */

import { agglomerateWithSplits } from "./agglomeration.js";
import { ByteLru } from "./byte_lru.js";
import { chooseDevice, choosePrecision } from "./device_choice.js";
import { fetchModel } from "./model_download.js";
import type {
  AdapterFacts,
  DeviceKind,
  Engine,
  EngineFailure,
  ModelInfo,
  Segmentation,
  WasmModule,
} from "./wasm_api.js";
import { isEngineFailure } from "./wasm_api.js";
import type {
  AgglomerateAnswer,
  AgglomerateRequest,
  FromWorker,
  OpenAnswer,
  OpenRequest,
  RecallRequest,
  RequestType,
  RequestTypes,
  SegmentRequest,
  TileAnswer,
  ToWorker,
} from "./worker_protocol.js";
import {
  GPU_REFUSALS,
  GPU_WRONG,
  MODEL_REFUSED,
  NO_DEVICE,
  NO_WEBGPU,
  WORKER_LOST,
} from "./worker_protocol.js";
import type { TileGrid, Zyx } from "./zyx.js";

const AFFINITY_CACHE_BYTES = 256 * 2 ** 20;

type Request = RequestTypes[RequestType]["request"];
type Answer = RequestTypes[RequestType]["answer"];

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer: Transferable[]): void;
};

function post(message: FromWorker, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

/** Everything that exists once a model is loaded. */
class OpenSession {
  private readonly shown = new Set<string>();
  private readonly inGraph = new Set<string>();
  private readonly affinities = new ByteLru<Uint8Array>(
    AFFINITY_CACHE_BYTES,
    (key) => this.forget(key),
  );

  constructor(
    private readonly engine: Engine,
    private readonly segmentation: Segmentation,
    private readonly grid: TileGrid,
  ) {}

  recall({ indexZyx }: RecallRequest): TileAnswer {
    const kept = this.affinities.get(indexZyx.join());
    return {
      labels: kept === undefined ? null : this.label(indexZyx, kept),
      cachedBytes: this.affinities.bytes,
    };
  }

  /** @param wanted asked after the network has run; false: only keep */
  async segment(
    request: SegmentRequest,
    wanted: () => boolean,
  ): Promise<TileAnswer> {
    const { indexZyx, values, dtypeMax } = request;
    const affinities = await this.engine.affinities(
      Float64Array.from(this.grid.volumeZyx),
      Uint32Array.from(indexZyx),
      values,
      dtypeMax,
    );
    this.affinities.set(indexZyx.join(), affinities, affinities.byteLength);
    return {
      labels: wanted() ? this.label(indexZyx, affinities) : null,
      cachedBytes: this.affinities.bytes,
    };
  }

  agglomerate({ threshold, splits }: AgglomerateRequest): AgglomerateAnswer {
    const start = performance.now();
    const result = agglomerateWithSplits(
      (t) => this.segmentation.equivalences(t),
      threshold,
      splits,
    );
    return { ...result, milliseconds: performance.now() - start };
  }

  /** The viewer has dropped the tile's labels. */
  release(indexZyx: Zyx): void {
    const key = indexZyx.join();
    this.shown.delete(key);
    if (!this.affinities.has(key)) this.forget(key);
  }

  private label(
    indexZyx: Zyx,
    affinities: Uint8Array,
  ): BigUint64Array<ArrayBuffer> {
    const key = indexZyx.join();
    this.shown.add(key);
    this.inGraph.add(key);
    return this.segmentation.add_tile(Uint32Array.from(indexZyx), affinities);
  }

  private forget(key: string): void {
    if (this.shown.has(key) || !this.inGraph.delete(key)) return;
    this.segmentation.remove_tile(Uint32Array.from(key.split(","), Number));
  }
}

let session: OpenSession | undefined;

async function open(request: OpenRequest): Promise<OpenAnswer> {
  const wasm = (await import("../wasm/tu_web.js")) as unknown as WasmModule;
  await wasm.default();
  // The download runs while the device is being prepared.
  const download = fetchModel(request.model, (bytes) =>
    post({ kind: "model", bytes }),
  );
  download.catch(() => {});
  const { engine, info, gpuRefused } = await openEngine(
    wasm,
    request,
    download,
  );
  const { grid } = request;
  for (const [name, promised, actual] of [
    ["tile_zyx", grid.tileZyx, info.tile_zyx],
    ["halo_zyx", grid.haloZyx, info.halo_zyx],
  ] as const) {
    if (promised.join() !== [...actual].join()) {
      throw {
        code: MODEL_REFUSED,
        message:
          `Model ${JSON.stringify(request.model.id)} has ${name} ` +
          `[${[...actual].join()}] instead of [${promised.join()}].`,
        hint: "Correct its entry in the plugin manifest.",
        retryable: false,
      } satisfies EngineFailure;
    }
  }
  session = new OpenSession(
    engine,
    new wasm.Segmentation({
      volume_zyx: [...grid.volumeZyx],
      tile_zyx: [...grid.tileZyx],
      halo_zyx: [...grid.haloZyx],
      fragment_method: info.fragment_method,
      scoring: info.scoring,
    }),
    grid,
  );
  return {
    info,
    device: engine.backend,
    adapter: engine.adapter,
    gpuRefused,
  };
}

interface LoadedEngine {
  readonly engine: Engine;
  readonly info: ModelInfo;
}

type Download = ReturnType<typeof fetchModel>;

/** With "auto", a GPU that cannot run the model gives way to the CPU. */
async function openEngine(
  wasm: WasmModule,
  request: OpenRequest,
  download: Download,
): Promise<LoadedEngine & { readonly gpuRefused: string }> {
  const { device: requested, precision } = request;
  const adapter = requested === "auto" ? await findAdapter(wasm) : undefined;
  const { device, gpuRefused } = chooseDevice(requested, adapter);
  const load = async (on: DeviceKind): Promise<LoadedEngine> => {
    const engine = await createEngine(wasm, on);
    const { bytes, sha256 } = await download;
    const type = choosePrecision(precision, engine.offers_f16);
    return { engine, info: await engine.load_model(bytes, sha256, type) };
  };
  try {
    return { ...(await load(device)), gpuRefused };
  } catch (error) {
    const failure = asFailure(error);
    const mayRunOnCpu = requested === "auto" && device === "webgpu";
    if (!mayRunOnCpu || !GPU_REFUSALS.includes(failure.code)) throw error;
    const loaded = await load("cpu");
    // Either the GPU computes wrong or the file is damaged: the CPU knows.
    if (failure.code === GPU_WRONG) await loaded.engine.check_known_answer();
    return { ...loaded, gpuRefused: failure.message };
  }
}

async function findAdapter(
  wasm: WasmModule,
): Promise<AdapterFacts | undefined> {
  try {
    return await wasm.webgpu_adapter();
  } catch (error) {
    if (asFailure(error).code === NO_WEBGPU) return undefined;
    throw error;
  }
}

async function createEngine(
  wasm: WasmModule,
  device: DeviceKind,
): Promise<Engine> {
  try {
    return await wasm.Engine.create(device);
  } catch (error) {
    const cause = asFailure(error);
    if (GPU_REFUSALS.includes(cause.code)) throw cause;
    throw {
      code: NO_DEVICE,
      message: `No device can run the network: ${cause.message}`,
      hint:
        cause.hint ||
        "Use a browser with WebGPU on https:// or localhost, or the CPU.",
      retryable: false,
    } satisfies EngineFailure;
  }
}

function asFailure(error: unknown): EngineFailure {
  if (isEngineFailure(error)) return error;
  // A trap leaves the wasm instance in an undefined state.
  const trapped = error instanceof WebAssembly.RuntimeError;
  return {
    code: trapped ? WORKER_LOST : "internal",
    message: error instanceof Error ? error.message : String(error),
    hint: "",
    retryable: trapped,
  };
}

async function run(request: Request, wanted: () => boolean): Promise<Answer> {
  if (request.type === "open") return open(request);
  if (session === undefined) {
    throw new Error("The model is not loaded.");
  }
  switch (request.type) {
    case "recall":
      return session.recall(request);
    case "segment":
      return session.segment(request, wanted);
    case "agglomerate":
      return session.agglomerate(request);
  }
}

/** Runs of the network that wait for the device, first come, first served. */
const waiting: { job: number; request: SegmentRequest }[] = [];
const cancelled = new Set<number>();
let running: number | undefined;

async function answer(job: number, request: Request): Promise<void> {
  try {
    const result = await run(request, () => !cancelled.has(job));
    if (cancelled.has(job)) return;
    const transfer: Transferable[] = [];
    if ("labels" in result && result.labels !== null) {
      transfer.push(result.labels.buffer);
    }
    if ("pairs" in result) transfer.push(result.pairs.buffer);
    post({ kind: "answer", job, answer: result }, transfer);
  } catch (error) {
    post({ kind: "failure", job, failure: asFailure(error) });
  }
}

async function drain(): Promise<void> {
  if (running !== undefined) return;
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    running = next.job;
    await answer(next.job, next.request);
    cancelled.delete(next.job);
    // Lets messages in, cancellations above all, after a blocking run.
    await new Promise((resolve) => setTimeout(resolve));
  }
  running = undefined;
}

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "request":
      if (data.request.type === "segment") {
        waiting.push({ job: data.job, request: data.request });
        void drain();
      } else {
        // What is quick does not wait for the network.
        void answer(data.job, data.request);
      }
      break;
    case "cancel": {
      const index = waiting.findIndex(({ job }) => job === data.job);
      if (index >= 0) waiting.splice(index, 1);
      else if (running === data.job) cancelled.add(data.job);
      break;
    }
    case "release":
      session?.release(data.indexZyx);
      break;
  }
};
