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
 * @file URL forms of the data source.
 *
 * `<volume URL>|tokenunify:` is the canonical form; options may follow as a
 * query, `|tokenunify:?model=…&threshold=0.4`.  `tokenunify://<volume URL>`
 * means the same.  Inside a query, `|` has to be written `%7C`.
 */

import { SCHEME } from "./base.js";
import type { TokenUnifyOptions } from "./options.js";
import { parseOptions } from "./options.js";

/** The query of a pipeline component, e.g. `?model=tiny&threshold=0.4`. */
export function parseOptionQuery(
  suffix: string | undefined,
): TokenUnifyOptions {
  if (suffix === undefined || suffix === "") return parseOptions(undefined);
  const match = /^\/{0,2}(?:\?([^#]*))?$/.exec(suffix);
  if (match === null) {
    throw new Error(
      `Unexpected ${JSON.stringify(suffix)} after "${SCHEME}:"; ` +
        `write options as "${SCHEME}:?model=…&threshold=…".`,
    );
  }
  const json: Record<string, unknown> = {};
  for (const [key, value] of new URLSearchParams(match[1] ?? "")) {
    if (Object.hasOwn(json, key)) {
      throw new Error(`Option ${JSON.stringify(key)} is given twice.`);
    }
    switch (key) {
      case "model":
      case "device":
      case "precision":
        json[key] = value;
        break;
      case "threshold":
      case "concurrency":
        json[key] = value.trim() === "" ? Number.NaN : Number(value);
        break;
      default:
        throw new Error(
          `Unknown option ${JSON.stringify(key)}; ` +
            `known are model, threshold, concurrency, device and precision.`,
        );
    }
  }
  return parseOptions(json);
}

/**
 * Neuroglancer rejects `tokenunify://https://host/x|zarr3:` because only base
 * stores may start a pipeline; this rewrites it to the canonical form.  Other
 * URLs are returned unchanged.
 */
export function pipelineForm(url: string): string {
  const trimmed = url.trim().replace(/\|+$/, "");
  const prefix = `${SCHEME}://`;
  return trimmed.startsWith(prefix) && trimmed.includes("|")
    ? `${trimmed.slice(prefix.length)}|${SCHEME}:`
    : url;
}

/** The URL that is written to the viewer's state. */
export function canonicalUrl(volumeUrl: string): string {
  return /^[a-zA-Z][a-zA-Z0-9+.-]*:.*\|/.test(volumeUrl)
    ? `${volumeUrl}|${SCHEME}:`
    : `${SCHEME}://${volumeUrl}`;
}

/**
 * Where to offer the scheme as a completion: the offset behind the last `|` if
 * what follows is the beginning of `tokenunify:`, otherwise undefined.
 */
export function completionOffset(url: string): number | undefined {
  const bar = url.lastIndexOf("|");
  if (bar < 0) return undefined;
  return `${SCHEME}:`.startsWith(url.slice(bar + 1)) ? bar + 1 : undefined;
}
