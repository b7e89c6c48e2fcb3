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
 * @file A page with the viewer, and what tests ask it.
 */

import type { Page } from "@playwright/test";
import { expect } from "@playwright/test";
import type { TokenUnifyHook } from "../../src/main.js";
import type { SessionStats } from "../../src/tokenunify/index.js";
import { HALO_ZYX, TILE_ZYX } from "./model_file.js";

declare global {
  // The page's hook, seen from functions that run in the page.
  // eslint-disable-next-line no-var -- a declaration, not a variable
  var tokenunify: TokenUnifyHook;
}

/** What tests use of a segmentation layer; see Neuroglancer's classes. */
export interface PageLayer {
  readonly displayState: {
    readonly segmentationGroupState: {
      readonly value: {
        readonly segmentEquivalences: { get(id: bigint): bigint };
        readonly graph: {
          readonly value: {
            merge(a: bigint, b: bigint): Promise<bigint>;
            split(
              a: bigint,
              b: bigint,
            ): Promise<{ include: bigint; exclude: bigint }>;
            readonly summary: { readonly automaticMerges: number };
          };
        };
      };
    };
  };
  readonly renderLayers: readonly {
    readonly multiscaleSource?: {
      getSources(options: unknown): {
        chunkSource: {
          fetchChunk<T>(
            grid: Float32Array,
            transform: (chunk: {
              chunkDataSize: Uint32Array;
              getValueAt(position: Uint32Array): bigint;
            }) => T,
            options: object,
          ): Promise<T>;
          dispose(): void;
        };
      }[][];
    };
  }[];
}

export interface StateOptions {
  /** Name of the volume below /data/. */
  readonly volume?: string;
  readonly position?: readonly [x: number, y: number, z: number];
  /** Voxels per screen pixel. */
  readonly scale?: number;
  readonly sourceState?: Record<string, unknown>;
  readonly image?: boolean;
  readonly tab?: string;
  readonly segmentation?: boolean;
}

export const volumeUrl = (origin: string, name = "volume"): string =>
  `${origin}/data/${name}.zarr/raw/|zarr3:`;

/** The CPU is much faster than a software GPU. */
const DEFAULT_STATE = { device: "cpu" };

/** A viewer state with the EM volume and its segmentation, one xy panel. */
export function viewerState(
  origin: string,
  voxelNmZyx: readonly number[],
  options: StateOptions = {},
): Record<string, unknown> {
  const [nmZ = 1, nmY = 1, nmX = 1] = voxelNmZyx;
  const volume = volumeUrl(origin, options.volume);
  const { image = true, segmentation = true } = options;
  return {
    dimensions: {
      x: [nmX * 1e-9, "m"],
      y: [nmY * 1e-9, "m"],
      z: [nmZ * 1e-9, "m"],
    },
    position: options.position ?? [96, 80, 4],
    crossSectionScale: options.scale ?? 0.06,
    prefetch: false,
    layout: "xy",
    showAxisLines: false,
    layers: [
      ...(image ? [{ type: "image", name: "EM", source: volume }] : []),
      ...(segmentation
        ? [
            {
              type: "segmentation",
              name: "neurons",
              tab: options.tab ?? "graph",
              source: {
                url: `${volume}|tokenunify:`,
                state: options.sourceState ?? DEFAULT_STATE,
              },
            },
          ]
        : []),
    ],
    selectedLayer: { visible: true, layer: segmentation ? "neurons" : "EM" },
  };
}

export class ViewerPage {
  readonly errors: string[] = [];

  constructor(
    readonly page: Page,
    private readonly origin: string,
  ) {
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) {
        this.errors.push(message.text());
      }
    });
  }

  /** Opens a link, as a new page would. */
  async open(state: Record<string, unknown>): Promise<void> {
    await this.page.goto("about:blank");
    const hash = encodeURIComponent(JSON.stringify(state));
    await this.page.goto(`${this.origin}/#!${hash}`);
    await this.page.waitForFunction(() => "tokenunify" in globalThis);
  }

  stats(): Promise<SessionStats[]> {
    return this.page.evaluate(() => globalThis.tokenunify.stats());
  }

  async session(): Promise<SessionStats> {
    const [first] = await this.stats();
    if (first === undefined) throw new Error("There is no session.");
    return first;
  }

  /**
   * Waits until the model is loaded and, for more than a second, no tile is
   * queued or in work.
   */
  async settled(timeoutMs = 240_000): Promise<SessionStats> {
    let last = "";
    let repeats = 0;
    await expect
      .poll(
        async () => {
          const [stats] = await this.stats();
          if (stats === undefined) return "no session";
          const { phase, tiles, notice } = stats;
          if (phase === "failed") return `failed: ${notice?.text ?? ""}`;
          if (phase !== "ready" || tiles.done + tiles.failed === 0)
            return phase;
          const now = JSON.stringify(tiles);
          repeats = now === last ? repeats + 1 : 0;
          last = now;
          const idle = tiles.queued + tiles.running === 0;
          return idle && repeats >= 3 ? "settled" : "working";
        },
        { timeout: timeoutMs, intervals: [500] },
      )
      .toBe("settled");
    return this.session();
  }

  /** Waits until the automatic segments no longer change. */
  async segmentsSettled(): Promise<number> {
    let last = -1;
    await expect
      .poll(
        async () => {
          const merges = await this.automaticMerges();
          const same = merges === last;
          last = merges;
          return same;
        },
        { intervals: [1500] },
      )
      .toBe(true);
    return last;
  }

  automaticMerges(): Promise<number> {
    return this.page.evaluate(() => {
      const { viewer } = globalThis.tokenunify;
      const layer = viewer.layerManager.getLayerByName("neurons")
        ?.layer as unknown as PageLayer;
      const { graph } = layer.displayState.segmentationGroupState.value;
      return graph.value.summary.automaticMerges;
    });
  }

  async moveTo(x: number, y: number, z: number): Promise<void> {
    await this.page.evaluate(
      (position) => {
        globalThis.tokenunify.viewer.position.value =
          Float32Array.from(position);
      },
      [x, y, z],
    );
  }

  async zoomTo(scale: number): Promise<void> {
    await this.page.evaluate((factor) => {
      const { viewer } = globalThis.tokenunify;
      viewer.crossSectionScale.restoreState(factor);
    }, scale);
  }

  stateJson(): Promise<Record<string, unknown>> {
    return this.page.evaluate(
      () =>
        JSON.parse(
          JSON.stringify(globalThis.tokenunify.viewer.state.toJSON()),
        ) as Record<string, unknown>,
    );
  }

  /** `source.state` of the segmentation layer, as a link would carry it. */
  async sourceState(): Promise<Record<string, unknown> | undefined> {
    const { layers } = (await this.stateJson()) as {
      layers: {
        name: string;
        source: string | { state?: Record<string, unknown> };
      }[];
    };
    const source = layers.find(({ name }) => name === "neurons")?.source;
    return typeof source === "object" ? source.state : undefined;
  }

  /**
   * Labels of a volume, zyx: fragments, and the segments that they belong to.
   * Tiles that are not there are computed.
   * @param tiles only these, as "z,y,x"; the others stay 0
   */
  async readLabels(
    shapeZyx: readonly number[],
    tiles?: readonly string[],
  ): Promise<{ fragments: BigUint64Array; segments: BigUint64Array }> {
    const read = (mapped: boolean): Promise<string> =>
      this.page.evaluate(
        async ({ shape, tile, tiles, mapped }) => {
          const [dz = 1, dy = 1, dx = 1] = shape;
          const [tz = 1, ty = 1, tx = 1] = tile;
          const { viewer } = globalThis.tokenunify;
          const layer = viewer.layerManager.getLayerByName("neurons")
            ?.layer as unknown as PageLayer;
          const { segmentEquivalences } =
            layer.displayState.segmentationGroupState.value;
          const multiscale = layer.renderLayers.find(
            (r) => r.multiscaleSource !== undefined,
          )?.multiscaleSource;
          const sources = multiscale?.getSources({})[0] ?? [];
          const source = sources[0]?.chunkSource;
          if (source === undefined) throw new Error("no label source");
          const labels = new BigUint64Array(dz * dy * dx);
          for (let z = 0; z * tz < dz; ++z) {
            for (let y = 0; y * ty < dy; ++y) {
              for (let x = 0; x * tx < dx; ++x) {
                if (tiles?.includes(`${z},${y},${x}`) === false) continue;
                await source.fetchChunk(
                  Float32Array.of(x, y, z),
                  (chunk) => {
                    const [nx = 0, ny = 0, nz = 0] = chunk.chunkDataSize;
                    const p = new Uint32Array(3);
                    for (p[2] = 0; p[2] < nz; ++p[2]) {
                      for (p[1] = 0; p[1] < ny; ++p[1]) {
                        for (p[0] = 0; p[0] < nx; ++p[0]) {
                          const id = chunk.getValueAt(p);
                          labels[
                            ((z * tz + p[2]) * dy + y * ty + p[1]) * dx +
                              x * tx +
                              p[0]
                          ] = mapped ? segmentEquivalences.get(id) : id;
                        }
                      }
                    }
                  },
                  {},
                );
              }
            }
          }
          for (const { chunkSource } of sources) chunkSource.dispose();
          const bytes = new Uint8Array(labels.buffer);
          let text = "";
          for (let i = 0; i < bytes.length; i += 0x8000) {
            text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
          }
          return btoa(text);
        },
        {
          shape: [...shapeZyx],
          tile: [...TILE_ZYX],
          ...(tiles && { tiles: [...tiles] }),
          mapped,
        },
      );
    const decode = (base64: string): BigUint64Array => {
      const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
      return new BigUint64Array(bytes.buffer);
    };
    const fragments = decode(await read(false));
    await this.segmentsSettled();
    return { fragments, segments: decode(await read(true)) };
  }

  /** Does the viewer still show EM? */
  async showsImage(): Promise<boolean> {
    return this.page.evaluate(() => {
      const { viewer } = globalThis.tokenunify;
      const layer = viewer.layerManager.getLayerByName("EM");
      return layer?.isReady() === true && viewer.display.panels.size > 0;
    });
  }
}

/** Tiles (xy) of one plane that a panel of this size shows. */
export function visibleTiles(
  centreXy: readonly [number, number],
  scale: number,
  panel: { width: number; height: number },
  volumeZyx: readonly number[],
): Set<string> {
  const [, height = 0, width = 0] = volumeZyx;
  const range = (
    centre: number,
    pixels: number,
    tile: number,
    extent: number,
  ): [number, number] => [
    Math.max(0, Math.floor((centre - (pixels * scale) / 2) / tile)),
    Math.min(
      Math.ceil(extent / tile) - 1,
      Math.floor((centre + (pixels * scale) / 2) / tile),
    ),
  ];
  const [x0, x1] = range(centreXy[0], panel.width, TILE_ZYX[2], width);
  const [y0, y1] = range(centreXy[1], panel.height, TILE_ZYX[1], height);
  const tiles = new Set<string>();
  for (let y = y0; y <= y1; ++y) {
    for (let x = x0; x <= x1; ++x) tiles.add(`${y},${x}`);
  }
  return tiles;
}

export { HALO_ZYX, TILE_ZYX };
