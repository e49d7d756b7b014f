import pc from 'picocolors'
import { expect, test } from 'vitest'
import { fitted } from '../../../core/text/columns.ts'
import type { DomainEvaluation, EvalRecord } from '../../../train/step/metrics/records.ts'
import { domainTable } from './domains.ts'

const plainColors = pc.createColors(false)

function record(domains: readonly DomainEvaluation[]): EvalRecord {
  const at = { loss: 1, bits_per_byte: 1, drop_rate: 0, unserved_rate: 0 }
  const routing = { gate_mean: null, gate_entropy: null, entropy_share: null }
  const others = {
    ...routing,
    aux_loss: 1,
    z_loss: 1,
    load_cv: 0,
    load_cv_kept: 0,
    dead_experts: 0,
    evaluated_tokens: 1,
  }
  const capacities = { train: at, eval: at, none: at }
  return { kind: 'eval', step: 1, tokens: 1, ...others, ...at, capacity: 'eval', capacities, domains }
}

const kernel: DomainEvaluation = {
  name: 'kernel',
  evaluated_tokens: 1000,
  evaluated_bytes: 3000,
  losses: { train: 9, eval: 3 * Math.LN2, none: 8 },
}
const rust: DomainEvaluation = {
  name: 'rust',
  evaluated_tokens: 20_000,
  evaluated_bytes: 40_000,
  losses: { train: 9, eval: 2, none: 8 },
}

test('each domain has a row with its tokens, and its loss at the capacity of the record', () => {
  const [head, ...rows] = domainTable(record([kernel, rust]), plainColors)
    .trimEnd()
    .split('\n')
    .slice(1)
  expect(rows.map((row) => row.trim().split(/ {2,}/))).toEqual([
    // A token has three bits and three bytes in kernel, and 2 / ln 2 bits and two bytes in rust.
    ['kernel', '1.00k', '2.0794', '1.0000'],
    ['rust', '20.0k', '2.0000', '1.4427'],
  ])
  for (const row of rows) expect(row.length).toBe(head?.length)
})

test('a text of one domain has no table', () => {
  expect(domainTable(record([kernel]), plainColors)).toBe('')
  const { domains: _, ...without } = record([])
  expect(domainTable(without, plainColors)).toBe('')
})

test('on a narrow terminal each domain is a line of named values', () => {
  const lines = fitted(domainTable(record([kernel, rust]), plainColors, 30), 30).split('\n')
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(30)
  expect(lines.slice(1, 3)).toEqual(['  kernel   tokens 1.00k', expect.stringMatching(/^ +loss 2\.0794 {3}bits$/)])
})
