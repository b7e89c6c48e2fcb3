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
 * @file The Vite plugin that puts our half into Neuroglancer's chunk worker.
 *
 * Neuroglancer has no slot for a worker module of somebody else's, so its
 * bundle gets one more import.  The plugin has to be listed in `plugins` and in
 * `worker.plugins`.
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

export interface TokenUnifyPluginOptions {
  /** Folder of the wasm module, if it is not this package's `src/wasm`. */
  readonly wasmDirectory?: string;
}

const packageFile = (relative: string): string =>
  fileURLToPath(new URL(relative, import.meta.url));

/** Icons that Neuroglancer imports and the registry's `ikonate` lacks. */
const MISSING_ICONS = ["code-alt", "controls-alt", "layers"];

const CHUNK_WORKER_BUNDLE =
  /[\\/]neuroglancer[\\/](?:lib|src)[\\/]chunk_worker\.bundle\.js(?:$|\?)/;

/**
 * Vite 6 and later overlook `new Worker(` with a comment before `new URL`, as
 * Neuroglancer writes it, and would copy the worker's source instead of
 * bundling it.
 */
const COMMENTED_WORKER = /(new Worker\(\s*)\/\*[^*]*\*\/(\s*new URL\()/g;

/**
 * What Neuroglancer's package needs to be built by Vite, with or without this
 * plugin: its missing icons, and workers that are found.
 */
export function neuroglancerPackage(): Plugin {
  return {
    name: "neuroglancer-package",
    enforce: "pre",
    config: () => ({
      resolve: {
        alias: MISSING_ICONS.map((icon) => ({
          find: new RegExp(`^ikonate/icons/${icon}\\.svg`),
          replacement: packageFile(`../../icons/${icon}.svg`),
        })),
      },
      // Neuroglancer finds its workers by URL relative to its own files.
      optimizeDeps: { exclude: ["neuroglancer"] },
    }),
    transform(code, id) {
      if (/[\\/]neuroglancer[\\/]/.test(id) && code.includes("new Worker(")) {
        return { code: code.replace(COMMENTED_WORKER, "$1$2"), map: null };
      }
      return undefined;
    },
  };
}

export function tokenunify(options: TokenUnifyPluginOptions = {}): Plugin[] {
  const { wasmDirectory } = options;
  let building = false;
  return [
    neuroglancerPackage(),
    {
      name: "neuroglancer-tokenunify",
      enforce: "pre",
      configResolved: ({ command }) => {
        building = command === "build";
      },
      config: () => ({
        resolve: {
          alias:
            wasmDirectory === undefined
              ? []
              : [{ find: /^\.\.\/wasm\//, replacement: `${wasmDirectory}/` }],
        },
      }),
      buildStart() {
        if (!building) return;
        const module = `${wasmDirectory ?? packageFile("../wasm")}/tu_web.js`;
        if (!existsSync(module)) {
          this.error(
            `The WebAssembly module ${module} is missing; make it with \`cargo xtask web\`.`,
          );
        }
      },
      transform(code, id) {
        if (!CHUNK_WORKER_BUNDLE.test(id)) return undefined;
        const backend = JSON.stringify(packageFile("./backend.ts"));
        return { code: `import ${backend};\n${code}`, map: null };
      },
    },
  ];
}
