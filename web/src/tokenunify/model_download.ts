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
 * @file Downloads a model file and checks its size and digest.
 */

import type { ModelEntry } from "./manifest.js";
import { MAX_MODEL_BYTES } from "./manifest.js";
import type { EngineFailure } from "./wasm_api.js";
import { MODEL_REFUSED, MODEL_UNREACHABLE } from "./worker_protocol.js";

function failure(
  code: string,
  message: string,
  hint: string,
  retryable = false,
): EngineFailure {
  return { code, message, hint, retryable };
}

async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}

/**
 * @param onProgress called with the bytes received so far
 * @returns the file and its digest: the promised one, or, for a model given by
 *   URL alone, the one that it has
 * @throws {@link EngineFailure}
 */
export async function fetchModel(
  model: ModelEntry,
  onProgress: (bytes: number) => void,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sha256: string }> {
  const name = `Model ${JSON.stringify(model.id)}`;
  const limit = model.bytes ?? MAX_MODEL_BYTES;
  let response: Response;
  try {
    response = await fetch(model.url);
  } catch {
    throw failure(
      MODEL_UNREACHABLE,
      `${name} cannot be downloaded from ${model.url}.`,
      'Check the network, and that the server sends "Access-Control-Allow-Origin".',
      true,
    );
  }
  if (!response.ok || response.body === null) {
    throw failure(
      MODEL_UNREACHABLE,
      `${name}: ${model.url} answered ${response.status} ${response.statusText}.`,
      "Check the address in the plugin manifest.",
      response.status >= 500,
    );
  }
  const parts: Uint8Array[] = [];
  let received = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw failure(
        MODEL_UNREACHABLE,
        `${name}: the download broke off after ${received} bytes.`,
        "Check the network.",
        true,
      );
    });
    if (done) break;
    received += value.length;
    if (received > limit) {
      await reader.cancel();
      throw failure(
        MODEL_REFUSED,
        `${name} is larger than the ${limit} bytes that are allowed.`,
        "The file is not the one that the manifest describes; correct the manifest or the file.",
      );
    }
    parts.push(value);
    onProgress(received);
  }
  if (model.bytes !== undefined && received !== model.bytes) {
    throw failure(
      MODEL_REFUSED,
      `${name} has ${received} bytes instead of ${model.bytes}.`,
      "The file is truncated or is not the one that the manifest describes.",
    );
  }
  const bytes = new Uint8Array(received);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  const sha256 = await sha256Hex(bytes);
  if (model.sha256 !== undefined && model.sha256 !== sha256) {
    throw failure(
      MODEL_REFUSED,
      `${name} has the SHA-256 digest ${sha256} instead of ${model.sha256}.`,
      "The file was changed or is not the one that the manifest describes; do not use it.",
    );
  }
  return { bytes, sha256 };
}
