// Saves a picture of the demo page once a segmentation is on it.
//   CHROME=… TU_WEB=…/web node screenshot.mjs URL PICTURE.png
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, picture] = process.argv.slice(2);
const require = createRequire(join(process.env.TU_WEB, "package.json"));
const { chromium } = require("@playwright/test");
const patience = Number(process.env.TU_SCREENSHOT_SECONDS ?? 600) * 1000;

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
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.on("pageerror", (error) => console.log("page error:", error.message));
  page.on("console", (message) => {
    if (message.type() === "error") console.log("console:", message.text());
  });
  const start = Date.now();
  const seconds = () => ((Date.now() - start) / 1000).toFixed(1);
  await page.goto(url);
  await page.waitForFunction(() => globalThis.tokenunify?.stats().length > 0, undefined, {
    timeout: 120_000,
  });
  const end = start + patience;
  let last = "";
  let first = true;
  for (;;) {
    const { tiles, notice, device, adapter } = await page.evaluate(
      () => globalThis.tokenunify.stats()[0],
    );
    const text = `${device ?? "starting"} ${adapter}: ${tiles.done} tiles done, ${tiles.running + tiles.queued} to do, ${tiles.failed} failed`;
    if (text !== last) console.log((last = text));
    if (tiles.failed > 0) throw new Error(`a tile failed: ${JSON.stringify(notice)}`);
    if (tiles.done > 0 && first) {
      console.log(`first tile ${seconds()} s after the page was asked for`);
      first = false;
    }
    if (tiles.done > 0 && tiles.running + tiles.queued === 0) break;
    if (Date.now() > end) throw new Error(`not ready after ${patience / 1000} s: ${text}`);
    await page.waitForTimeout(200);
  }
  console.log(`all visible tiles ${seconds()} s after the page was asked for`);
  await page.waitForTimeout(2000);
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
}
