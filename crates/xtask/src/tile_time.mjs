// Times one tile through the WebAssembly module in a browser.
//   CHROME=… TU_WEB=…/web node tile_time.mjs URL NAME…      (URL serves /wasm/ and /models/NAME.safetensors)
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, ...names] = process.argv.slice(2);
const require = createRequire(join(process.env.TU_WEB, "package.json"));
const { chromium } = require("@playwright/test");

const browser = await chromium.launch({
  executablePath: process.env.CHROME,
  ignoreDefaultArgs: ["--disable-gpu"],
  args: [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--enable-unsafe-swiftshader",
    "--enable-unsafe-webgpu",
    ...(process.env.TU_CHROME_FLAGS ?? "--use-webgpu-adapter=swiftshader")
      .split(" ")
      .filter(Boolean),
  ],
});

/** Runs in the page: loads a model on a device and computes a tile; the second of two runs counts, since the first
 * compiles shaders, unless that took over a minute. */
async function time({ name, device, precision }) {
  const wasm = await import("/wasm/tu_web.js");
  await wasm.default();
  const engine = await wasm.Engine.create(device);
  const bytes = new Uint8Array(await (await fetch(`/models/${name}.safetensors`)).arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const info = await engine.load_model(bytes, sha256, precision);
  if (precision !== "f32" && info.precision !== precision) return undefined;
  // A tile in the middle of a large volume: its whole window is read.
  const volume = Float64Array.from(info.tile_zyx, (size) => 3 * size);
  const window = info.tile_zyx.map((size, axis) => size + 2 * info.halo_zyx[axis]);
  const data = Float32Array.from({ length: window[0] * window[1] * window[2] }, (_, i) => (i * 61) % 255);
  const seconds = [];
  while (seconds.length < 2 && !(seconds[0] > 60)) {
    const start = performance.now();
    await engine.affinities(volume, Uint32Array.of(1, 1, 1), data, 255);
    seconds.push((performance.now() - start) / 1000);
  }
  const voxels = info.tile_zyx[0] * info.tile_zyx[1] * info.tile_zyx[2];
  return { adapter: engine.adapter, seconds: seconds.at(-1), voxels, tile: info.tile_zyx.join("×"), window: window.join("×") };
}

try {
  console.log(`Chromium ${browser.version()}`);
  console.log("preset  device   type  adapter                  tile         window         s per tile  kvoxel/s of the tile");
  const devices = [["cpu", "f32"], ["webgpu", "f32"], ["webgpu", "f16"]];
  for (const [device, precision] of devices) {
    for (const name of names) {
      const page = await browser.newPage();
      await page.route(`${url}/`, (route) =>
        route.fulfill({ contentType: "text/html", body: "<!doctype html><title>benchmark</title>" }),
      );
      await page.goto(`${url}/`);
      const timed = await page.evaluate(time, { name, device, precision });
      if (timed === undefined) {
        console.log(`${name.padEnd(7)} ${device.padEnd(8)} ${precision.padEnd(5)} the adapter does not offer it`);
      } else {
        const { adapter, seconds, voxels, tile, window } = timed;
        const head = `${name.padEnd(7)} ${device.padEnd(8)} ${precision.padEnd(5)} ${adapter.slice(0, 24).padEnd(24)}`;
        console.log(
          `${head} ${tile.padEnd(12)} ${window.padEnd(12)} ${seconds.toFixed(3).padStart(12)}  ${(voxels / seconds / 1e3).toFixed(1).padStart(8)}`,
        );
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
}
