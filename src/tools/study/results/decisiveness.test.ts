import { expect, test } from 'vitest'
import { type RunInput, runSchema } from '../../../core/config/run-config.ts'
import type { FinishedRun, LayerHistory } from '../contract.ts'
import { decisivenessOf } from './decisiveness.ts'

type Sketch = Pick<LayerHistory, 'layer' | 'module' | 'entropy'> & { readonly gate?: readonly number[] }

function runOf(moe: NonNullable<RunInput['model']>['moe'], layers: readonly Sketch[]): FinishedRun {
  return { config: runSchema.parse({ model: { moe } }), layers } as unknown as FinishedRun
}

test('gates and shares of entropy are means over the last quarter of the snapshots', () => {
  const gate = [9, 9, 9, 9, 9, 9, 0.25, 0.75]
  const entropy = [9, 9, 9, 9, 9, 9, 1, 2]
  expect(decisivenessOf(runOf({ experts: 16 }, [{ layer: 3, module: 'ffn', gate, entropy }]))).toEqual([
    { layer: 3, gate: 0.5, entropyShare: 1.5 / Math.log(16) },
  ])
  // Routers of two prototypes choose among eight experts each.
  const prototypes = { router: 'prototype', prototypes: 2, experts: 16 } as const
  expect(decisivenessOf(runOf(prototypes, [{ layer: 3, module: 'ffn', gate, entropy }]))[0]?.entropyShare).toBe(
    1.5 / Math.log(8),
  )
})

test('routers of a layer are averaged, and layers keep their order', () => {
  const router = (layer: number, module: 'ffn' | 'qkv', gate: number, entropy: number) => ({
    ...{ layer, module },
    gate: [gate],
    entropy: [entropy * Math.log(4)],
  })
  const layers = [router(0, 'qkv', 0.25, 1), router(0, 'ffn', 0.75, 0.5), router(1, 'ffn', 0.5, 0.25)]
  expect(decisivenessOf(runOf({ experts: 4, attention: 'qkv' }, layers))).toEqual([
    { layer: 0, gate: 0.5, entropyShare: 0.75 },
    { layer: 1, gate: 0.5, entropyShare: 0.25 },
  ])
})

test('the gate of an older record and the entropy share of a router without weights are null', () => {
  const layer = { layer: 0, module: 'ffn', entropy: [0] } as const
  expect(decisivenessOf(runOf({ experts: 4 }, [{ ...layer, entropy: [Math.log(4)] }]))).toEqual([
    { layer: 0, gate: null, entropyShare: 1 },
  ])
  for (const router of ['hash', 'random'] as const)
    expect(decisivenessOf(runOf({ experts: 4, router }, [{ ...layer, gate: [1] }]))).toEqual([
      { layer: 0, gate: 1, entropyShare: null },
    ])
  // A router with one expert in each prototype has nothing to decide.
  const single = { router: 'prototype', experts: 4, prototypes: 4 } as const
  expect(decisivenessOf(runOf(single, [{ ...layer, gate: [4] }]))).toEqual([{ layer: 0, gate: 4, entropyShare: null }])
  expect(decisivenessOf(runOf(null, []))).toEqual([])
})
