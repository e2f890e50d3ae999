/**
 * What the browser tests share: a Chromium with a profile of its own, a signed-in page, and a reader of chart figures.
 * Settings come from the environment; a missing one is an error, never a skipped test.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}: see tests/README.md`);
  return value;
}

export const base = () => setting('BASE_URL').replace(/\/$/, '');
export const key = () => setting('SIGN_IN_KEY');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS });

/** A fresh profile, signed in over the same call the form makes. */
export async function signedIn(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  const answer = await context.request.post(`${base()}/api/v1/session`, { data: { key: key() } });
  if (answer.status() !== 200) throw new Error(`signing in answered ${answer.status()}`);
  const page = await context.newPage();
  const broken = [];
  page.on('pageerror', (e) => broken.push(e.message));
  page.on('console', (m) => {
    if (/content security policy/i.test(m.text())) broken.push(m.text());
  });
  return { context, page, broken };
}

/** The first server the API names, or the one the environment asks for. */
export async function someServer(context) {
  if (process.env.SERVER) return process.env.SERVER;
  const list = await (await context.request.get(`${base()}/api/v1/servers`)).json();
  if (list.length === 0) throw new Error('no server has sent anything: start a collector before these tests');
  return list[0].name;
}

/** Waits until the first chart has a line, and says what the figures in view know of themselves. */
export async function charts(page) {
  await page.waitForFunction(() => document.querySelector('figure.chart[data-plot-width]'), undefined, { timeout: 20_000 });
  return page.$$eval('figure.chart[data-plot-width]', (all) => all.map((f) => ({ ...f.dataset })));
}

/** How many canvas pixels carry ink between two times of a chart (all of it without times). */
export async function ink(page, id, from, to) {
  return page.$eval(
    `figure.chart[data-id="${id}"]`,
    (figure, [from, to]) => {
      const canvas = figure.querySelector('canvas');
      const d = figure.dataset;
      const bleed = 2;
      const dpr = canvas.width / (Number(d.plotWidth) + 2 * bleed);
      const x = (t) => (bleed + ((t - Number(d.from)) / (Number(d.to) - Number(d.from))) * Number(d.plotWidth)) * dpr;
      const x0 = from === null ? 0 : Math.max(0, Math.ceil(x(from)));
      const x1 = to === null ? canvas.width : Math.min(canvas.width, Math.floor(x(to)));
      if (x1 - x0 < 1) return { pixels: 0, width: 0 };
      const data = canvas.getContext('2d').getImageData(x0, 0, x1 - x0, canvas.height).data;
      let pixels = 0;
      for (let i = 3; i < data.length; i += 4) if (data[i] > 0) pixels += 1;
      return { pixels, width: x1 - x0 };
    },
    [from ?? null, to ?? null],
  );
}

export const axeSource = () => readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
