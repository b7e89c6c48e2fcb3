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
 * @file From a server's `demo.json` to a viewer state.
 */

/** What a server offers to show; see {@link parseDemo}. */
export interface Demo {
  /** URL of the EM volume, absolute or relative to `demo.json`. */
  readonly volumeUrl: string;
  readonly position: readonly number[] | undefined;
  /** Neuroglancer's form: name to [size, unit], e.g. `{"x": [8e-9, "m"]}`. */
  readonly dimensions: Readonly<Record<string, unknown>> | undefined;
  /** Voxels per screen pixel. */
  readonly crossSectionScale: number | undefined;
  readonly title: string | undefined;
  /** Options of the segmentation layer, as in `source.state`. */
  readonly state: Readonly<Record<string, unknown>> | undefined;
}

export function parseDemo(json: unknown): Demo {
  if (typeof json !== "object" || json === null) {
    throw new Error("demo.json is not a JSON object");
  }
  const { volume_url, position, dimensions, crossSectionScale, title, state } =
    json as Record<string, unknown>;
  if (typeof volume_url !== "string" || volume_url === "") {
    throw new Error('demo.json has no "volume_url"');
  }
  const isNumber = (x: unknown): x is number =>
    typeof x === "number" && Number.isFinite(x);
  return {
    volumeUrl: volume_url,
    position:
      Array.isArray(position) && position.every(isNumber)
        ? position
        : undefined,
    dimensions:
      typeof dimensions === "object" && dimensions !== null
        ? (dimensions as Record<string, unknown>)
        : undefined,
    crossSectionScale: isNumber(crossSectionScale)
      ? crossSectionScale
      : undefined,
    title: typeof title === "string" ? title : undefined,
    state:
      typeof state === "object" && state !== null
        ? (state as Record<string, unknown>)
        : undefined,
  };
}

/** The volume as an image layer, and its segmentation on top. */
export function demoState(demo: Demo, base: URL): Record<string, unknown> {
  // Only the part before the first bar is a URL.
  const bar = demo.volumeUrl.indexOf("|");
  const head = bar < 0 ? demo.volumeUrl : demo.volumeUrl.slice(0, bar);
  const tail = bar < 0 ? "" : demo.volumeUrl.slice(bar);
  const volume = `${new URL(head, base).href}${tail}`;
  return {
    // A scale without dimensions would be in metres and ask for no tile.
    ...(demo.dimensions && { dimensions: demo.dimensions }),
    ...(demo.position && { position: demo.position }),
    ...(demo.dimensions &&
      demo.crossSectionScale !== undefined && {
        crossSectionScale: demo.crossSectionScale,
      }),
    layers: [
      { type: "image", name: "EM", source: volume },
      {
        type: "segmentation",
        name: "neurons",
        source: {
          url: `${volume}|tokenunify:`,
          ...(demo.state && { state: demo.state }),
        },
        tab: "graph",
      },
    ],
    selectedLayer: { visible: true, layer: "neurons" },
    layout: "xy",
  };
}
