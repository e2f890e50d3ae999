/** Truth: inside a deliberate gap there is no ink, outside there is, and the gap is hatched. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { base, charts, ink, launch, setting, signedIn } from './lib/browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(async () => browser?.close());

const time = (text) => (/^\d+$/.test(text) ? Number(text) : Date.parse(text));

test('no ink inside a gap', async () => {
  const [server, from, to] = [setting('GAP_SERVER'), time(setting('GAP_FROM')), time(setting('GAP_TO'))];
  assert.ok(to - from >= 60_000, 'the gap has to last a minute at least');
  const { context, page } = await signedIn(browser);
  const around = Math.max(5 * 60_000, to - from);
  const iso = (ms) => new Date(ms).toISOString();
  await page.goto(`${base()}/servers/${encodeURIComponent(server)}?from=${iso(from - around)}&to=${iso(Math.min(Date.now(), to + around))}`);
  const figures = await charts(page);
  let checked = 0;
  for (const f of figures) {
    const gaps = JSON.parse(f.gaps);
    // the page must have found the gap by itself: it covers the middle of the one we made
    const middle = (from + to) / 2;
    const gap = gaps.find(([a, b]) => a <= middle && middle <= b);
    if (!gap) continue;
    // one and a half pixels of each end belong to the width of the line itself
    const px = (Number(f.to) - Number(f.from)) / Number(f.plotWidth);
    const inside = await ink(page, f.id, gap[0] + 2 * px, gap[1] - 2 * px);
    assert.ok(inside.width > 4, `${f.id}: the gap is only ${inside.width} px wide`);
    assert.equal(inside.pixels, 0, `${f.id}: ink inside the gap`);
    assert.ok((await ink(page, f.id)).pixels > 20, `${f.id}: no ink at all`);
    assert.ok(await page.locator(`figure.chart[data-id="${f.id}"] rect.gap`).count(), `${f.id}: no hatch`);
    checked += 1;
  }
  assert.ok(checked >= 3, `only ${checked} of ${figures.length} charts show the gap`);
  await context.close();
});
