/** Something that happens at an instant, unless it is cancelled before. */
export interface Scheduled {
  readonly at: number;
  readonly order: number;
  /** Null once it has happened or was cancelled. */
  run: (() => void) | null;
}

/** What is to happen, by time, and what was scheduled first at the same time: a binary heap. */
export class EventQueue {
  readonly #heap: Scheduled[] = [];
  #order = 0;

  add(at: number, run: () => void): Scheduled {
    const entry = { at, order: this.#order++, run };
    this.#rise(entry);
    return entry;
  }

  /** The next entry that is not cancelled and comes at or before `until`. */
  take(until: number): Scheduled | null {
    for (let top = this.#heap[0]; top !== undefined && top.at <= until; top = this.#heap[0]) {
      this.#removeTop();
      if (top.run !== null) return top;
    }
    return null;
  }

  #rise(entry: Scheduled): void {
    const heap = this.#heap;
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, entry)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = entry;
  }

  #removeTop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      let child = heap[below];
      if (child === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, child)) {
        below++;
        child = right;
      }
      if (isBefore(last, child)) break;
      heap[place] = child;
      place = below;
    }
    heap[place] = last;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
