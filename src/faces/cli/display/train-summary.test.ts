import pc from 'picocolors'
import { expect, test } from 'vitest'
import { summarize } from '../../../core/model/routing/statistics.ts'
import type { TrainSummary } from '../../../train/loop/events.ts'
import { summaryText } from './train-summary.ts'

const summaryOf = (gates: readonly (readonly [gate: number, entropy: number | null])[], interrupted = false) =>
  ({
    ...{ directory: 'runs/a', interrupted, step: 20, tokens: 2560, seconds: 2 },
    ...{ tokensPerSecond: null, mfu: null, ceiling: null, last: null, evaluation: null, ranks: null },
    gates: gates.map(([gateMean, entropyShare], layer) => ({ layer, gateMean, entropyShare })),
  }) satisfies TrainSummary

/** The lines without the time and the directory, which are always the last. */
const rows = (summary: TrainSummary): string[] =>
  summaryText(summary, pc.createColors(false))
    .split('\n')
    .flatMap((line) => (line === '' ? [] : line.trim().replace(/ {2,}/, ': ')))
    .slice(0, -2)

const advice = expect.stringMatching(/^routers: hardly prefer any expert yet.*model\.moe\.router=hash$/)

test('gates and entropies are shown by layer', () => {
  expect(
    rows(
      summaryOf([
        [0.4211, 0.978],
        [0.61, 0.5],
      ]),
    ),
  ).toEqual(['gate: 0.42 0.61 by layer', 'entropy: 0.98 0.50 of the largest, by layer'])
})

test('advice is shown only if the training is complete and no router has decided', () => {
  const undecided = [
    [0.1, 0.9],
    [0.2, 0.99],
  ] as const
  expect(rows(summaryOf(undecided))).toEqual([expect.anything(), expect.anything(), advice])
  expect(rows(summaryOf(undecided, true))).toHaveLength(2)
  expect(rows(summaryOf([...undecided, [0.3, 0.89]]))).toHaveLength(2)
})

test('routers without weights have a gate and no entropy, and a dense model has neither', () => {
  expect(rows(summaryOf([[1, null]]))).toEqual(['gate: 1.00 by layer'])
  expect(rows(summaryOf([]))).toEqual([])
})

test('the last step of a dense model has no drop rate and no imbalance of loads', () => {
  const last = { ...summarize([]), loss: 3, mfu: 0 } as unknown as NonNullable<TrainSummary['last']>
  const names = (of: typeof last) => rows({ ...summaryOf([]), last: of }).map((row) => row.split(':')[0])
  expect(names(last)).toEqual(['training loss'])
  expect(names({ ...last, gate_mean: 0.5 })).toEqual(['training loss', 'drop rate', 'c_v'])
})

test('a resumed training that had all of its steps says how the run gets more', () => {
  const lines = (summary: TrainSummary) => summaryText(summary, pc.createColors(false))
  expect(lines({ ...summaryOf([]), directory: 'my run' })).toContain(
    "steps  none is left to step 20, 2.56k tokens in all: for more, choir train --resume 'my run' --steps N\n",
  )
  expect(lines(summaryOf([], true))).toContain('time  2.0s, to step 20')
})
