/** A finished run for tests, with a loss and no configuration, except for the given fields. */
import type { RunSummary } from '../../../src/faces/watch/api.ts'

export function runWith(fields: Partial<RunSummary>): RunSummary {
  return {
    id: 'a',
    path: 'a',
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
    ranked: false,
    routed: false,
    traceable: false,
    checkpoint: null,
    config: {},
    ...fields,
  }
}
