import pc from 'picocolors'
import { expect, test } from 'vitest'
import type { Atlas, ExpertAtlas, RouterAtlas } from '../../../tools/routes/atlas/contract.ts'
import { atlasText } from './atlas.ts'

const plain = pc.createColors(false)

const expertOf = (expert: number, given: Partial<ExpertAtlas> = {}): ExpertAtlas => ({
  ...{ expert, tokens: 100, share: 0.25, interval: null, load: 1, drop_rate: 0, gate_mean: 0.5, token_share: 0.5 },
  ...{ top: [], domains: [], partners: [] },
  ...given,
})

const routerOf = (
  layer: number,
  experts: readonly Partial<ExpertAtlas>[],
  given: Partial<RouterAtlas> = {},
): RouterAtlas => ({
  ...{ layer, module: 'ffn', experts: experts.length, prototypes: 1, choices: 1, load_cv: 0, max_over_mean: 1 },
  ...{ drop_rate: 0, entropy: 1, entropy_share: 0.7, token_share: 0.5, dead: [], duplicates: [], domain_load_cv: [0] },
  ...given,
  of: experts.map((expert, i) => expertOf(i, expert)),
})

const atlasOf = (routers: readonly RouterAtlas[], ablation?: Atlas['ablation']): Atlas => ({
  ...{ kind: 'atlas', format: 1, tokens: 400, documents: 1, groups: 1, confidence: 0.95, domains: [] },
  record: {
    model: {
      directory: 'runs/x',
      step: 1,
      weights: 'float32',
      engine: { provider: 'a', math: 'float32', threads: 1 },
      config: { moe: { routedScale: 2 } },
    },
    text: { source: 'a', hash: 'b', documents: 1, tokens: 400 },
    ...{ capacity: 'none', loss: 3 },
  },
  ...(ablation && { ablation }),
  routers,
})

const textOf = (atlas: Atlas) => atlasText(atlas, plain, 120)

test('a collapsed router and gates above the largest are named, and healthy routers are not', () => {
  const tokens = (...counts: number[]) => counts.map((count) => ({ tokens: count }))
  const text = textOf(
    atlasOf([
      routerOf(0, tokens(6, 380, 7, 7)),
      routerOf(1, tokens(40, 200, 60, 100)),
      routerOf(2, tokens(5, 195, 100, 100), { prototypes: 2, choices: 2 }),
      routerOf(3, [{}, { gate_mean: 2.3 }, { gate_mean: 3.1 }, {}]),
    ]),
  )
  expect(text).toContain('layer 0 has collapsed: 95 % of the choices are for expert 1\n')
  expect(text).not.toContain('layer 1 has')
  expect(text).toContain('layer 2 has collapsed: 98 % of the choices are for expert 1\n')
  expect(text).toContain('layer 3: gates that are not normalised: 3.10 on average of expert 2, where 2 is the most\n')
})

test('the experts that are worth most and least', () => {
  const worth = [0.1, -0.01, 0.3, 0.02].map((rise) => ({
    ablation: { rise, interval: [rise - 0.005, rise + 0.005] as [number, number] },
  }))
  const text = textOf(atlasOf([routerOf(0, worth)], { tokens: 4000, batches: 8, loss: 3.25 }))
  expect(text).toContain('\n\n  loss without an expert, over 3.2500 on 4,000 tokens, nats a token\n')
  expect(text).toMatch(/most: layer 0, expert 2 \+0\.3000 \(\+0\.2950 to \+0\.3050\); layer 0, expert 0 \+0\.1000/)
  expect(text).toMatch(/least: layer 0, expert 1 −0\.0100 \(−0\.0150 to −0\.0050\); layer 0, expert 3 \+0\.0200/)
})
