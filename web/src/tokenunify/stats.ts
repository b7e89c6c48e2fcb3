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
 * @file A read-only look at the running sessions, for tests and for reports of
 * problems.
 */

import type { SessionStatus } from "./base.js";
import { liveSessions } from "./session_frontend.js";
import type { Zyx } from "./zyx.js";

export interface SessionStats extends SessionStatus {
  readonly model: string;
  readonly volumeZyx: Zyx;
  readonly tileZyx: Zyx;
}

export function sessionStats(): SessionStats[] {
  return [...liveSessions].map(({ status, parameters }) => ({
    ...status.value,
    model: parameters.model.id,
    volumeZyx: parameters.grid.volumeZyx,
    tileZyx: parameters.grid.tileZyx,
  }));
}
