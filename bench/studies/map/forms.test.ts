import { expect, test } from 'vitest'
import { normals } from '../../../src/tools/law/testing/normals.ts'
import { knownLaw, lossBy, simulate } from '../../../src/tools/law/testing/simulated.ts'
import { intervalTable } from './forms.ts'

const pairs = simulate(
  {
    law: lossBy(knownLaw),
    sizes: [
      { active: 3e5, most: 8, seeds: 2 },
      { active: 1e6, most: 8, seeds: 2 },
    ],
    experts: [2, 4, 8],
    noise: { seed: 0.05, run: 0.002, branch: 0.002 },
  },
  normals(1),
)
const gain = { transform: 'gain', gamma: false, zeta: false } as const

test('the table of intervals leaves out sizes without which there is no law, and says so', () => {
  const text = intervalTable(pairs, [], [gain])
  const rows = text.split('\n').filter((line) => line.includes('gain:'))
  // Three numbers of experts at two sizes and four lengths of training.
  expect(rows).toEqual([expect.stringMatching(/number of experts +\d+ % of 24 /)])
  for (const size of ['300k', '1.00 M'])
    expect(text).toContain(`Without ${size} active parameters there is no law: it needs at least 2 sizes (there is 1).`)
})
