/**
 * Opens a sign-in link in Chromium, goes to the first server and waits for lines on a chart, then for the next window.
 * Prints `live SECONDS` and `stepped SECONDS`.
 */
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../visualizer/web/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const link = process.argv[2];
const began = Date.now();
const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  const broken = [];
  page.on('pageerror', (error) => broken.push(error.message));
  await page.goto(link);
  const server = page.locator('a[href^="/servers/"]').first();
  await server.waitFor({ timeout: 30_000 });
  await page.goto(new URL(await server.getAttribute('href'), link).href);
  // ink on a canvas that a chart says holds data
  const inked = () => {
    for (const canvas of document.querySelectorAll('figure.chart canvas')) {
      if (!canvas.width || !canvas.height) continue;
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let pixels = 0;
      for (let i = 3; i < data.length; i += 4) if (data[i] > 0) pixels += 1;
      if (pixels > 20) return true;
    }
    return false;
  };
  await page.waitForFunction(inked, undefined, { timeout: 30_000, polling: 100 });
  console.log(`live ${seconds(began)}`);
  const drawn = Date.now();
  const edge = () => document.querySelector('figure.chart[data-plot-width]')?.dataset.to;
  const first = await page.evaluate(edge);
  await page.waitForFunction((before) => {
    const now = document.querySelector('figure.chart[data-plot-width]')?.dataset.to;
    return now !== undefined && Number(now) > Number(before);
  }, first, { timeout: 25_000, polling: 100 });
  console.log(`stepped ${seconds(drawn)}`);
  if (broken.length > 0) throw new Error(`the page broke: ${broken.join('; ')}`);
} finally {
  await browser.close();
}
