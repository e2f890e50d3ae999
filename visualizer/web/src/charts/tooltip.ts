/**
 * The one tooltip of a page, in the pointer's own chart. In: a layout and a time. Out: a small table.
 * Keeps: it never covers the crosshair (34 px to its emptier side); it says "no data" where there is none.
 */
import { clock, day, score, value } from '../format';
import { reach, valueAt } from './gaps';
import type { Layout } from './overlay';
import { indexAt } from './cross';
import { html } from './svg';
import type { Ranked } from './types';

interface Row {
  readonly n: Ranked;
  readonly avg: number | null;
  readonly max: number | null;
}

const AWAY = 34;
const MOST_ROWS = 9;

export class Tooltip {
  readonly box = html('div', 'tip');

  show(host: HTMLElement, l: Layout, t: number, pinned: boolean): void {
    const i = indexAt(l, t);
    const read = (list: readonly Ranked[]): Row[] =>
      list
        .map((n) => ({ n, avg: valueAt(n.line.avg, i), max: n.line.max ? valueAt(n.line.max, i, reach(n.line.avg)) : null }))
        .filter((r) => r.avg !== null)
        .sort((a, b) => (b.avg ?? 0) - (a.avg ?? 0));
    // the named lines are always there; the crowd's largest fill what room is left
    const named = read(l.ranking.named);
    const crowd = read(l.ranking.crowd);
    const rows = [...named, ...crowd.slice(0, Math.max(0, MOST_ROWS - named.length))].sort((a, b) => (b.avg ?? 0) - (a.avg ?? 0));
    const left = named.length + crowd.length - rows.length;
    const head = html('header');
    head.append(html('b', '', clock(t)), html('span', '', `${day(t)} · ${l.spec.title}`));
    const table = html('table');
    const some = rows.some((r) => r.max !== null);
    if (rows.length > 0) table.append(row('tip-h', '', '', 'avg', some ? 'max' : ''));
    for (const r of rows) {
      const tr = row('', '', r.n.line.name, value(r.avg, l.spec.unit), some ? value(r.max, l.spec.unit) : '');
      tr.cells[0].append(html('i', `sw c${r.n.colour}`));
      tr.cells[2].classList.add('strong');
      table.append(tr);
    }
    if (left > 0) table.append(row('tip-h', '', `${left} more`, '', ''));
    if (rows.length === 0) table.append(row('tip-h', '', 'no data', '', ''));
    const low = l.band?.low[i];
    const high = l.band?.high[i];
    if (typeof low === 'number' && typeof high === 'number') {
      const tr = row('tip-band', '', 'expected', `${value(low, l.spec.unit)} to ${value(high, l.spec.unit)}`);
      tr.cells[0].append(html('i', 'sw-band'));
      table.append(tr);
    }
    const odd = l.spec.odd.filter((o) => o.from <= t && t <= o.to).sort((a, b) => b.score - a.score)[0];
    if (odd) {
      const name = l.spec.lines.find((n) => n.key === odd.key)?.name ?? 'odd';
      const tr = row('tip-odd', '', `${name}, score`, `${score(odd.score)}, alert at 1.0`);
      tr.cells[0].append('◆');
      table.append(tr);
    }
    const foot = html('footer');
    foot.append(html('kbd', '', 'click'), pinned ? ' unpin ' : ' pin ', html('kbd', '', 'drag'), ' zoom');
    this.box.replaceChildren(head, table, foot);
    if (this.box.parentElement !== host) host.append(this.box);
    const x = l.scales.x(t);
    const wide = this.box.offsetWidth;
    const right = x < l.width / 2;
    this.box.style.left = `${Math.round(right ? x + AWAY : x - AWAY - wide)}px`;
    this.box.style.top = '-8px';
  }

  hide(): void {
    this.box.remove();
  }
}

function row(cls: string, ...cells: string[]): HTMLTableRowElement {
  const tr = html('tr', cls);
  for (const c of cells) tr.append(html('td', '', c));
  if (cells.length === 3) tr.cells[2].colSpan = 2;
  return tr;
}
