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
 * @file Builds the demo site into `dist`: static files, relative links.
 *
 * `TOKENUNIFY_WASM_DIR` names another folder with `tu_web.js` and
 * `tu_web_bg.wasm` than `src/wasm`.
 */

import { defineConfig } from "vite";
import { tokenunify } from "./src/tokenunify/vite_plugin.js";

const wasmDirectory = process.env["TOKENUNIFY_WASM_DIR"];
const plugin = () =>
  tokenunify(wasmDirectory === undefined ? {} : { wasmDirectory });

export default defineConfig({
  base: "",
  plugins: [plugin()],
  worker: { format: "es", plugins: () => [plugin()] },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    chunkSizeWarningLimit: 4096,
    // The manifest of a viewer must not be rewritten as a data URL.
    assetsInlineLimit: 0,
  },
});
