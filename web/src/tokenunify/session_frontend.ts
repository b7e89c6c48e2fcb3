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
 * @file The half of a layer's session that lives on the main thread.
 *
 * A session is everything that costs something: the segmentation worker, the
 * model, affinities, the region graph.  It exists while the layer's graph is
 * connected or a view uses one of its chunk sources.
 */

import type { RPC } from "neuroglancer/unstable/worker_rpc.js";
import {
  registerRPC,
  registerSharedObjectOwner,
  SharedObject,
} from "neuroglancer/unstable/worker_rpc.js";
import type { VolumeChunkSource } from "neuroglancer/unstable/sliceview/volume/frontend.js";
import { WatchableValue } from "neuroglancer/unstable/trackable_value.js";
import type {
  EquivalencesMessage,
  SessionParameters,
  SessionSettings,
  SessionStatus,
} from "./base.js";
import {
  EQUIVALENCES_RPC_ID,
  INITIAL_STATUS,
  RETRY_RPC_ID,
  SESSION_RPC_ID,
  SETTINGS_RPC_ID,
  STATUS_RPC_ID,
} from "./base.js";
import type { LayerState } from "./state.js";

/** Sessions in existence, for the read-only test hook. */
export const liveSessions = new Set<FrontendSession>();

export interface SessionHandlers {
  onEquivalences(message: EquivalencesMessage): void;
  onStatus(status: SessionStatus): void;
}

export class FrontendSession extends SharedObject {
  readonly status = new WatchableValue<SessionStatus>(INITIAL_STATUS);
  private generation = 0;
  private sent = "";

  constructor(
    rpc: RPC,
    readonly parameters: SessionParameters,
    imageSource: VolumeChunkSource,
    private readonly state: LayerState,
    private readonly handlers: SessionHandlers,
  ) {
    super();
    this.registerDisposer(imageSource.addRef());
    this.initializeCounterpart(rpc, {
      parameters,
      settings: this.settings(),
      imageSource: imageSource.addCounterpartRef(),
    });
    this.registerDisposer(state.changed.add(() => void this.sendSettings()));
    liveSessions.add(this);
    this.registerDisposer(() => {
      liveSessions.delete(this);
    });
  }

  /**
   * Tells the worker what has changed.
   * @returns the generation that the answering equivalences will carry
   */
  sendSettings(): number {
    const { threshold, concurrency, splits } = this.state.options;
    const content = JSON.stringify([
      threshold,
      concurrency,
      splits.map(([a, b]) => [a.toString(), b.toString()]),
    ]);
    if (content !== this.sent) {
      ++this.generation;
      this.rpc?.invoke(SETTINGS_RPC_ID, {
        id: this.rpcId,
        settings: this.settings(),
      });
      this.sent = content;
    }
    return this.generation;
  }

  retry(): void {
    this.rpc?.invoke(RETRY_RPC_ID, { id: this.rpcId });
  }

  receiveStatus(status: SessionStatus): void {
    this.status.value = status;
    this.handlers.onStatus(status);
  }

  receiveEquivalences(message: EquivalencesMessage): void {
    this.handlers.onEquivalences(message);
  }

  private settings(): SessionSettings {
    const { threshold, concurrency, splits } = this.state.options;
    return { threshold, concurrency, splits, generation: this.generation };
  }
}

registerSharedObjectOwner(SESSION_RPC_ID)(FrontendSession);

registerRPC(STATUS_RPC_ID, function (x: { id: number; status: SessionStatus }) {
  (this.get(x.id) as FrontendSession | undefined)?.receiveStatus(x.status);
});

registerRPC(
  EQUIVALENCES_RPC_ID,
  function (x: EquivalencesMessage & { id: number }) {
    (this.get(x.id) as FrontendSession | undefined)?.receiveEquivalences(x);
  },
);
