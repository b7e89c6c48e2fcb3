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
 * @file Registers the data source with Neuroglancer on the main thread.
 */

import {
  registerKvStoreBasedDataProvider,
  registerProvider,
} from "neuroglancer/unstable/datasource/default_provider.js";
import type {
  CompletionResult,
  DataSource,
} from "neuroglancer/unstable/datasource/index.js";
import { DataSourceRegistry } from "neuroglancer/unstable/datasource/index.js";
import { emptyValidCoordinateSpace } from "neuroglancer/unstable/coordinate_transform.js";
import { WatchableValue } from "neuroglancer/unstable/trackable_value.js";
import type { ProgressOptions } from "neuroglancer/unstable/util/progress_listener.js";
import { DESCRIPTION, SCHEME } from "./base.js";
import { manifestUrl } from "./configuration.js";
import { registerControls } from "./controls.js";
import { EmVolume } from "./em_volume.js";
import { TokenUnifyGraph } from "./graph.js";
import { chooseModel } from "./manifest.js";
import { patchRegistry } from "./neuroglancer_internals.js";
import { parseOptions } from "./options.js";
import type { TokenUnifyOptions } from "./options.js";
import { FrontendSession } from "./session_frontend.js";
import { LayerState } from "./state.js";
import { NoticeDisplay } from "./status.js";
import { summaryFactors } from "./summary_pyramid.js";
import {
  canonicalUrl,
  completionOffset,
  parseOptionQuery,
  pipelineForm,
} from "./url.js";
import { LabelVolume } from "./volume_frontend.js";

interface OpenOptions extends Partial<ProgressOptions> {
  readonly registry: DataSourceRegistry;
  readonly volumeUrl: string;
  readonly urlOptions: TokenUnifyOptions;
  /** `source.state` of the viewer's state, if any. */
  readonly stateJson: unknown;
}

async function openLayer(options: OpenOptions): Promise<DataSource> {
  const { registry, volumeUrl, stateJson, urlOptions } = options;
  const signal = options.signal ?? new AbortController().signal;
  // What was saved with the layer wins over the query of its URL.
  const state = new LayerState(
    stateJson === undefined
      ? urlOptions
      : { ...urlOptions, ...parseOptions(stateJson) },
  );
  const [inner, model] = await Promise.all([
    registry.get({
      url: volumeUrl,
      transform: undefined,
      globalCoordinateSpace: new WatchableValue(emptyValidCoordinateSpace),
      ...(options.signal && { signal: options.signal }),
      ...(options.progressListener && {
        progressListener: options.progressListener,
      }),
    }),
    chooseModel(state.options.model, manifestUrl(), signal),
  ]);
  const entry = inner.subsources.find(
    ({ subsource }) => subsource.volume !== undefined,
  );
  if (entry === undefined) {
    throw new Error(`There is no image volume at ${volumeUrl}.`);
  }
  const em = EmVolume.describe(volumeUrl, inner, entry, model.voxelNmZyx);
  const { volumeZyx } = em.layout;
  const { chunkManager } = registry;
  const notices = new NoticeDisplay();

  let session: FrontendSession | undefined;
  const acquireSession = (): FrontendSession => {
    if (session !== undefined && !session.wasDisposed) return session.addRef();
    const imageSource = em.acquireChunkSource();
    const created = new FrontendSession(
      chunkManager.chunkQueueManager.rpc!,
      {
        layout: em.layout,
        grid: {
          volumeZyx,
          tileZyx: model.tileZyx,
          haloZyx: model.haloZyx,
        },
        model,
        device: state.options.device,
        precision: state.options.precision,
        dtypeMax: em.dtypeMax,
        summaryFactorsZyx: summaryFactors(volumeZyx, em.voxelNmZyx),
      },
      imageSource,
      state,
      {
        onEquivalences: (message) => graph.receive(message),
        onStatus: (status) => {
          notices.show(status.notice);
          graph.changed.dispatch();
        },
      },
    );
    imageSource.dispose();
    created.registerDisposer(() => {
      if (session !== created) return;
      session = undefined;
      graph.session.value = undefined;
      notices.dispose();
    });
    session = created;
    graph.session.value = created;
    return created;
  };
  // The graph stays connected while the layer is hidden, and keeps the session.
  let keptByGraph: FrontendSession | undefined;
  const graph = new TokenUnifyGraph(state, (connected) => {
    if (connected) keptByGraph = acquireSession();
    else {
      keptByGraph?.dispose();
      keptByGraph = undefined;
    }
  });
  const geometry = {
    ...(entry.subsourceToModelSubspaceTransform && {
      subsourceToModelSubspaceTransform:
        entry.subsourceToModelSubspaceTransform,
    }),
    ...(entry.modelSubspaceDimensionIndices && {
      modelSubspaceDimensionIndices: entry.modelSubspaceDimensionIndices,
    }),
  };
  return {
    canonicalUrl: canonicalUrl(
      inner.originalCanonicalUrl ?? inner.canonicalUrl ?? volumeUrl,
    ),
    modelTransform: inner.modelTransform,
    state,
    subsources: [
      {
        ...geometry,
        id: "default",
        default: true,
        subsource: {
          volume: new LabelVolume(chunkManager, em, acquireSession),
        },
      },
      { id: "graph", default: true, subsource: { segmentationGraph: graph } },
      ...inner.subsources.filter(({ id }) => id === "bounds"),
    ],
  };
}

/** Offers the scheme behind a `|` and accepts it in front of a pipeline. */
function extendRegistry(): void {
  const completion = { value: `${SCHEME}:`, description: DESCRIPTION };
  patchRegistry(DataSourceRegistry, (original) => ({
    get(this: DataSourceRegistry, options) {
      return original.get.call(this, {
        ...options,
        url: pipelineForm(options.url),
      });
    },
    async completeUrl(this: DataSourceRegistry, options) {
      const offset = completionOffset(options.url);
      if (offset === undefined) return original.completeUrl.call(this, options);
      let others: CompletionResult | undefined;
      try {
        others = await original.completeUrl.call(this, options);
      } catch (error) {
        if (options.signal?.aborted) throw error;
        // Nothing was detected behind the bar; ours remains.
      }
      return others?.offset === offset
        ? { ...others, completions: [...others.completions, completion] }
        : { offset, completions: [completion] };
    },
  }));
}

let registered = false;

/** Makes `tokenunify:` known.  Call it before the viewer is built. */
export function registerTokenUnify(): void {
  if (registered) return;
  registered = true;
  registerKvStoreBasedDataProvider({
    scheme: SCHEME,
    description: DESCRIPTION,
    get: ({ registry, kvStoreUrl, url, state, signal, progressListener }) =>
      openLayer({
        registry,
        volumeUrl: kvStoreUrl,
        urlOptions: parseOptionQuery(url.suffix),
        stateJson: state as unknown,
        ...(signal && { signal }),
        ...(progressListener && { progressListener }),
      }),
  });
  registerProvider({
    scheme: SCHEME,
    description: DESCRIPTION,
    get: ({ registry, providerUrl, state, signal, progressListener }) =>
      openLayer({
        registry,
        volumeUrl: providerUrl,
        urlOptions: parseOptions(undefined),
        stateJson: state as unknown,
        signal,
        ...(progressListener && { progressListener }),
      }),
    completeUrl: ({ registry, providerUrl, signal, progressListener }) =>
      registry.completeUrl({
        url: providerUrl,
        signal,
        ...(progressListener && { progressListener }),
      }),
  });
  extendRegistry();
  registerControls();
}
