/** Notices about a training before it begins. */
import { describe, expect, test } from 'vitest'
import { presets } from '../../core/config/presets.ts'
import { runSchema } from '../../core/config/run-config.ts'
import { warmupNotices } from './notices.ts'

const noticesOf = (warmup: number, steps: number) =>
  warmupNotices(runSchema.parse({ train: { steps, schedule: { warmup } } }))

describe('a warm-up', () => {
  test('of more than a quarter of the steps is noticed, with its fields, values and what to do', () => {
    expect(noticesOf(75, 300)).toEqual([])
    expect(noticesOf(0, 1)).toEqual([])
    expect(noticesOf(76, 300)).toEqual([
      'the learning rate rises for 76 of the 300 steps (train.schedule.warmup=76, train.steps=300): the loss is that of a ' +
        'lower rate than train.schedule.learningRate (set train.schedule.warmup to at most 75, or train.steps to at least 304)',
    ])
    // The remedies that it names leave nothing to notice.
    expect(noticesOf(75, 300)).toEqual([])
    expect(noticesOf(76, 304)).toEqual([])
  })

  test('longer than the training rises for all of its steps', () => {
    expect(noticesOf(100, 20)).toEqual([expect.stringMatching(/^the learning rate rises for all 20 steps/)])
  })

  test('of a preset is short enough', () => {
    for (const { config } of Object.values(presets)) expect(warmupNotices(runSchema.parse(config))).toEqual([])
  })
})
