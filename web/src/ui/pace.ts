/** Showing what changes quickly only as often as eyes can follow: every drawing takes time from the engine's threads. */

export interface Paced<T> {
  /** The newest value; shown now, or with the next that is due. */
  give(value: T): void;
  /** Nothing is shown any more. */
  end(): void;
}

/** Calls `show` with the newest value given, at most once in `pause` milliseconds. */
export function paced<T>(pause: number, show: (value: T) => void): Paced<T> {
  let newest: T;
  let due: ReturnType<typeof setTimeout> | undefined;
  let last = -Infinity;
  const now = (): void => {
    due = undefined;
    last = performance.now();
    show(newest);
  };
  return {
    give(value) {
      newest = value;
      if (due !== undefined) return;
      const wait = last + pause - performance.now();
      if (wait <= 0) now();
      else due = setTimeout(now, wait);
    },
    end() {
      clearTimeout(due);
    },
  };
}
