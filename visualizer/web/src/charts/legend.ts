/**
 * The legend row: a swatch, a name and a value for each named line; the crowd is counted.
 * In: a ranking and an index (the crosshair's, or null for now). Out: keys. Keeps: keys are made once for each set of lines;
 * a moving crosshair only changes their numbers.
 */
import { type Unit, value } from '../format';
import { lastValue, valueAt } from './gaps';
import type { Ranking } from './rank';
import { html } from './svg';

export class Legend {
  private readonly values: { column: readonly (number | null)[]; text: HTMLElement }[] = [];

  constructor(
    private readonly box: HTMLElement,
    ranking: Ranking,
    private readonly unit: Unit,
    band: boolean,
    onPoint: (key: string | null) => void,
  ) {
    const out: HTMLElement[] = [];
    const lone = ranking.named.length === 1 && ranking.crowd.length === 0;
    for (const n of ranking.named) {
      const key = html('span', 'key');
      const text = html('b');
      key.append(html('i', `sw c${n.colour}`), n.line.name, text);
      key.title = n.line.name;
      if (!lone) {
        key.onpointerenter = () => onPoint(n.line.key);
        key.onpointerleave = () => onPoint(null);
      }
      this.values.push({ column: n.line.avg, text });
      out.push(key);
    }
    if (ranking.crowd.length > 0) {
      const key = html('span', 'key');
      key.append(html('i', 'sw c0'), `${ranking.crowd.length} more`);
      out.push(key);
    }
    if (band) {
      const key = html('span', 'key');
      key.append(html('i', 'sw-band'), 'expected');
      out.push(key);
    }
    box.replaceChildren(...out);
    this.show(null);
  }

  show(index: number | null): void {
    for (const v of this.values) {
      const at = index === null ? lastValue(v.column) : valueAt(v.column, index);
      const text = value(at, this.unit);
      if (v.text.textContent !== text) v.text.textContent = text;
    }
    this.box.dataset.at = index === null ? 'now' : String(index);
  }
}
