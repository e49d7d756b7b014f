import { stripVTControlCharacters } from 'node:util'
import pc from 'picocolors'
import { describe, expect, test } from 'vitest'
import { widthOf } from '../../../core/text/columns.ts'
import type { StepProfile } from '../../../train/measure/step-profile.ts'
import { stepProfile } from '../testing/fake.ts'
import { profileText } from './profile.ts'

const plain = pc.createColors(false)

/** Rows of the table whose first column has this title: the other cells of a row, by its name. */
function rowsOf(text: string, title: string): Map<string, string[]> {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.startsWith(`  ${title} `) && line.includes('ms a step'))
  const end = lines.indexOf('', start)
  const rows = lines.slice(start + 1, end).map((line) => line.trim().split(/ {2,}/))
  return new Map(rows.map(([name = '', ...cells]) => [name, cells]))
}

describe('a profile', () => {
  const text = profileText(stepProfile, plain)

  test('reports time, rate and share of the ceiling by work, part, layer and provider', () => {
    // 900 MFLOP in 6 ms are 150 GFLOP/s of 300; 40 MB in 2 ms are 20 GB/s of 20.
    expect(rowsOf(text, 'work')).toEqual(
      new Map([
        ["matmul'", ['4', '6.00', '60.0 %', '150 GFLOP/s', '50 %']],
        ['update (adamw)', ['1', '2.00', '20.0 %', '20.0 GB/s', '100 %']],
        ['Reshape', ['3', '1.00', '10.0 %']],
        ['JavaScript, and waiting', ['1.00', '10.0 %']],
        ['total', ['8', '10.00', '100.0 %', '90.1 GFLOP/s', '50 %']],
      ]),
    )
    expect([...rowsOf(text, 'part of the model').keys()]).toEqual([
      'layers.*.attention',
      'optimizer',
      '(no layer)',
      'JavaScript, and waiting',
      'total',
    ])
    expect(rowsOf(text, 'layer').get('layers.1')).toEqual(['2', '3.00', '30.0 %', '150 GFLOP/s', '50 %'])
    expect([...rowsOf(text, 'run by').keys()]).toEqual([
      'oneDNN',
      'WASM',
      'ONNX Runtime',
      'JavaScript, and waiting',
      'total',
    ])
    expect(text).toContain('2 steps of 10.00 ms on average\n')
    expect(text).toContain('oneDNN 3.7.2, float32 on 2 threads\n')
    expect(text).toContain('300 GFLOP/s, 20.0 GB/s\n')
  })

  test('has tables that each add up to the wall time, however many rows they have', () => {
    const nodes = Array.from({ length: 40 }, (_, i) => ({
      kind: `Kind${i}`,
      provider: 'ONNX Runtime' as const,
      op: `op-${i}`,
      layer: `layers.${i}.moe.experts`,
      runs: 1,
      microseconds: 10 * (i + 1),
    }))
    const many = profileText({ ...stepProfile, steps: 1, microseconds: 9000, nodes }, plain)
    for (const title of ['work', 'part of the model', 'layer', 'run by']) {
      const rows = rowsOf(many, title)
      expect(rows.size).toBeLessThanOrEqual(17)
      const parts = [...rows].filter(([name]) => name !== 'total')
      // The time is the first cell with a fraction of two digits.
      const sum = parts.reduce((ms, [, cells]) => ms + Number(cells.find((cell) => /^\d+\.\d\d$/.test(cell))), 0)
      expect(sum).toBeCloseTo(9, 1)
      expect(rows.get('total')?.[1]).toBe('9.00')
    }
    expect(many).toMatch(/^ {2}other \(26\) +26 /m)
  })

  test('has no line that is wider than the terminal, and cuts long names', () => {
    const [node] = stepProfile.nodes
    const op = 'an-operation-with-a-very-long-name-that-goes-on'
    const long: StepProfile = { ...stepProfile, nodes: [{ ...(node as (typeof stepProfile.nodes)[0]), op }] }
    for (const columns of [80, 100, 200]) {
      const lines = profileText(long, pc.createColors(true), columns).split('\n')
      for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns)
    }
    expect(stripVTControlCharacters(profileText(long, plain, 80))).toContain('an-operation-with-a-very-lo')
    expect(profileText(long, plain, 200)).toContain(`${op} (matmul)`)
  })

  test('has a message instead of tables if no step was recorded', () => {
    expect(profileText({ ...stepProfile, steps: 0, microseconds: 0, nodes: [] }, plain)).toBe(
      '\n  no step was recorded\n',
    )
  })
})
