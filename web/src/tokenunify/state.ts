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
 * @file A layer's options as Neuroglancer tracks them: `source.state`.
 */

import { NullarySignal } from "neuroglancer/unstable/util/signal.js";
import type { Trackable } from "neuroglancer/unstable/util/trackable.js";
import type { TokenUnifyOptions } from "./options.js";
import { optionsToJson, parseOptions } from "./options.js";

export class LayerState implements Trackable {
  readonly changed = new NullarySignal();
  private current: TokenUnifyOptions;

  constructor(options: TokenUnifyOptions) {
    this.current = options;
  }

  get options(): TokenUnifyOptions {
    return this.current;
  }

  update(changes: Partial<TokenUnifyOptions>): void {
    this.current = { ...this.current, ...changes };
    this.changed.dispatch();
  }

  restoreState(json: unknown): void {
    this.current = parseOptions(json);
    this.changed.dispatch();
  }

  reset(): void {
    this.restoreState(undefined);
  }

  toJSON(): Record<string, unknown> | undefined {
    return optionsToJson(this.current);
  }
}
