/** A run for tests: finished, with a loss and no configuration, but for what is said. */
import type { RunSummary } from '../../../src/watch/api.ts'

export function runWith(known: Partial<RunSummary>): RunSummary {
  return {
    id: 'a',
    name: 'a',
    kind: 'choir',
    state: 'finished',
    step: 100,
    steps: 100,
    tokens: 1000,
    loss: 3,
    heldOutLoss: null,
    bitsPerByte: null,
    tokensPerSecond: null,
    secondsLeft: null,
    created: null,
    changed: 0,
    lines: 100,
    reading: false,
    metrics: ['train/loss'],
    routed: false,
    traceable: false,
    checkpoint: null,
    config: {},
    ...known,
  }
}
