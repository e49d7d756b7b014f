import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { describeMetric, metricName, metricOf } from './metrics.ts'

const guide = readFileSync('docs/run-directory.md', 'utf8')
/** Rows of the table of metrics.jsonl: field, records that have it, and its text. */
const rows = [...guide.matchAll(/^\| `(\w+)` \| (both|train|eval) \| (.*) \|$/gm)].map(([, field, where, text]) => ({
  field: field as string,
  tag: `${where === 'eval' ? 'eval' : 'routing'}/${field}`,
  text: text as string,
}))
/** Fields that are no numbers over which a curve is drawn. */
const others = ['kind', 'step', 'tokens', 'skipped', 'router_faults', 'capacity', 'capacities', 'domains']

describe('the glossary', () => {
  test('has the same name, unit and meaning as the guide for every number of metrics.jsonl', () => {
    const numbers = rows.filter(({ field }) => !others.includes(field))
    expect(numbers.length).toBeGreaterThan(15)
    for (const { tag, field, text } of numbers) {
      const found = metricOf(tag)
      expect(found, field).not.toBeNull()
      const unit = found?.unit === null ? '' : `, in ${found?.unit}`
      const name = field === 'loss' ? 'Loss' : found?.name
      expect(text.startsWith(`${name}: ${found?.meaning}${unit}`), text).toBe(true)
    }
  })

  test('names losses by their text, and evaluations by their rule of capacity', () => {
    const named = (tag: string) => metricOf(tag)?.name
    expect(['train/loss', 'eval/loss', 'eval/dropless/loss'].map(named)).toEqual([
      'Training loss',
      'Held-out loss',
      'Held-out loss, dropless',
    ])
    expect(['train/drop_rate', 'eval/drop_rate', 'eval/train_capacity/drop_rate'].map(named)).toEqual([
      'Drop rate',
      'Drop rate, held-out',
      'Drop rate, held-out, capacity of training',
    ])
  })

  test('does not know metrics of other programs, whatever they are called', () => {
    for (const tag of ['loss', 'val/loss', 'train/accuracy', 'train/a/loss', 'eval/a/b/loss', 'train/constructor', ''])
      expect([metricOf(tag), metricName(tag), describeMetric(tag)], tag).toEqual([null, tag, null])
  })

  test('says which values are better, except where neither is', () => {
    expect(describeMetric('eval/loss')).toMatch(/, in nats a token\. Lower is better\.$/)
    expect(describeMetric('train/tokens_per_second')).toMatch(/Higher is better\.$/)
    expect(describeMetric('train/gate_mean')).not.toContain('better')
  })
})
