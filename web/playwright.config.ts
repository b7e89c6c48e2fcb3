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
 * @file Browser tests: the built site in a real Chromium, WebGPU on SwiftShader.
 *
 * `cargo xtask web` builds the site.  `CHROME` names the browser, `TU_TRAIN` the
 * command line that makes volumes and expected segmentations.
 */

import { defineConfig } from "@playwright/test";
import { launchOptions } from "./tests/browser/launch.js";

export default defineConfig({
  testDir: "tests/browser",
  globalSetup: "./tests/browser/global_setup.ts",
  outputDir: "test-results",
  // There is one device; tests side by side would only wait for each other.
  workers: 1,
  fullyParallel: false,
  timeout: 300_000,
  expect: { timeout: 60_000 },
  reporter: "list",
  use: {
    viewport: { width: 1000, height: 700 },
    screenshot: "only-on-failure",
    launchOptions: launchOptions(),
  },
});
