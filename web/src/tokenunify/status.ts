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
 * @file The state of a session in words, and the messages that a user sees.
 */

import { StatusMessage } from "neuroglancer/unstable/status.js";
import type { Notice, SessionStatus } from "./base.js";

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** One line: what runs where, in which type, and why it is not the fastest. */
export function deviceText(status: SessionStatus): string {
  switch (status.phase) {
    case "starting":
      return "Starting";
    case "loading":
      return status.modelBytes > 0
        ? `Loading the model (${mebibytes(status.modelBytes)})`
        : "Loading the model";
    case "failed":
      return "Stopped";
    case "ready": {
      const kind = status.device === "webgpu" ? "WebGPU" : "CPU";
      const adapter =
        status.adapter !== "" && status.adapter !== status.device
          ? ` (${status.adapter})`
          : "";
      const cause = status.fallback === "" ? "" : `: ${status.fallback}`;
      return `${kind}, ${status.precision}${adapter}${cause}`;
    }
  }
}

/** One line: how far the tiles are. */
export function tilesText(status: SessionStatus): string {
  const { tiles } = status;
  const parts = [
    `${tiles.done} done`,
    `${tiles.running} running`,
    `${tiles.queued} queued`,
  ];
  if (tiles.aborted > 0) parts.push(`${tiles.aborted} aborted`);
  if (tiles.empty > 0) parts.push(`${tiles.empty} without data`);
  if (tiles.failed > 0) parts.push(`${tiles.failed} failed`);
  return parts.join(", ");
}

export function memoryText(status: SessionStatus): string {
  return `${mebibytes(status.cachedBytes)} kept for reuse`;
}

/** Shows each notice of a session once, at the bottom of the viewer. */
export class NoticeDisplay {
  private shown = "";
  private message: StatusMessage | undefined;

  show(notice: Notice | undefined): void {
    const text = notice === undefined ? "" : notice.text;
    if (text === this.shown) return;
    this.shown = text;
    this.message?.dispose();
    this.message = undefined;
    if (notice === undefined) return;
    if (notice.severity === "error") {
      this.message = new StatusMessage();
      this.message.setErrorMessage(`TokenUnify: ${notice.text}`);
    } else {
      StatusMessage.showTemporaryMessage(`TokenUnify: ${notice.text}`, 8000);
    }
  }

  dispose(): void {
    this.message?.dispose();
    this.message = undefined;
  }
}
