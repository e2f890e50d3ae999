/** Accessibility: axe-core finds nothing on any page, in both themes; everything works with keys alone. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { axeSource, base, charts, launch, signedIn, someServer } from './lib/browser.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(async () => browser?.close());

async function findings(page) {
  await page.addScriptTag({ content: axeSource() }).catch(() => page.evaluate(axeSource()));
  const out = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.ok(out.passes.length > 10, 'axe looked at nothing');
  return out.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')}`);
}

for (const colorScheme of ['light', 'dark']) {
  describe(colorScheme, () => {
    test('sign-in', async () => {
      const context = await browser.newContext({ colorScheme, bypassCSP: true });
      const page = await context.newPage();
      await page.goto(`${base()}/`);
      await page.getByLabel('Key').waitFor();
      assert.deepEqual(await findings(page), []);
      await context.close();
    });
    test('fleet', async () => {
      const { context, page } = await signedIn(browser, { colorScheme, bypassCSP: true });
      await page.goto(`${base()}/`);
      await page.locator('tr.host').first().waitFor();
      assert.deepEqual(await findings(page), []);
      await context.close();
    });
    test('server', async () => {
      const { context, page } = await signedIn(browser, { colorScheme, bypassCSP: true });
      await page.goto(`${base()}/servers/${encodeURIComponent(await someServer(context))}`);
      await charts(page);
      assert.deepEqual(await findings(page), []);
      await context.close();
    });
    test('interface', async () => {
      const { context, page } = await signedIn(browser, { colorScheme, bypassCSP: true });
      await page.goto(`${base()}/docs?call=servers`);
      await page.getByRole('button', { name: 'Send' }).click();
      await page.getByRole('region', { name: 'Body' }).waitFor();
      assert.deepEqual(await findings(page), []);
      await context.close();
    });
    test('alerts', async () => {
      const { context, page } = await signedIn(browser, { colorScheme, bypassCSP: true });
      await page.goto(`${base()}/alerts`);
      await page.getByRole('heading', { name: /^Resolved/ }).waitFor();
      assert.deepEqual(await findings(page), []);
      await context.close();
    });
  });
}

test('the theme switch is kept over a reload', async () => {
  const { context, page } = await signedIn(browser, { colorScheme: 'light' });
  await page.goto(`${base()}/`);
  await page.getByRole('button', { name: 'Switch theme' }).click();
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await page.reload();
  await page.getByRole('button', { name: 'Switch theme' }).waitFor();
  assert.equal(await ground(), dark);
  assert.equal(dark, 'rgb(10, 16, 19)');
  await context.close();
});

test('Tab reaches the page, its tabs and its charts, and shows where it is', async () => {
  const { context, page } = await signedIn(browser);
  await page.goto(`${base()}/servers/${encodeURIComponent(await someServer(context))}`);
  await charts(page);
  const seen = [];
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      return { name: e.getAttribute('aria-label') ?? e.textContent.trim(), outline: getComputedStyle(e).outlineStyle, plot: e.classList.contains('plot') };
    });
    seen.push(at);
    if (at.plot) break;
  }
  assert.ok(seen.some((s) => /Skip to the page/.test(s.name)));
  assert.ok(seen.some((s) => s.name === 'Fleet'));
  const plot = seen.at(-1);
  assert.ok(plot.plot, 'no chart was reached');
  assert.equal(plot.outline, 'solid');
  await context.close();
});
