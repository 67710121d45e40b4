/** Which transport is taken when one fails, and when better ones are tried again. */

import { expect, it } from "vitest";
import { CLIMB_MS_BASE, CLIMB_MS_MAX, Ladder } from "../src/ladder.js";

const fail = (ladder: Ladder<string>, times: number): readonly boolean[] =>
  Array.from({ length: times }, () => ladder.failed());

it("a transport is given up after two failures in a row, the last one never", () => {
  const ladder = new Ladder(["a", "b", "c"]);
  expect(ladder.failed()).toBe(false);
  ladder.opened();
  expect(fail(ladder, 2)).toEqual([false, true]);
  expect(ladder.name).toBe("b");
  expect(fail(ladder, 2)).toEqual([false, true]);
  expect(fail(ladder, 5)).toEqual(Array(5).fill(false));
  expect(ladder.name).toBe("c");
});

it("better ones are tried once each, later each time, and soon again once one works", () => {
  const ladder = new Ladder(["a", "b", "c"]);
  expect(ladder.climbMs).toBeNull();
  fail(ladder, 4);
  for (const climbMs of [1, 2, 4, 8, 16, 16].map((times) => times * CLIMB_MS_BASE)) {
    expect(ladder.climbMs).toBe(climbMs);
    ladder.failed();
    ladder.climb();
    expect(ladder.name).toBe("a");
    expect(fail(ladder, 2)).toEqual([true, true]);
    ladder.opened();
    ladder.opened();
  }
  expect(ladder.climbMs).toBe(CLIMB_MS_MAX);
  ladder.climb();
  ladder.failed();
  ladder.opened();
  expect([ladder.name, ladder.climbMs]).toEqual(["b", CLIMB_MS_BASE]);
});
