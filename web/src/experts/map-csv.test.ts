import { expect, test } from 'vitest'
import { layerFrame, timeFrame } from './frame.ts'
import { mapCsv } from './map-files.tsx'

const router = { layer: 0, module: 'ffn', experts: 2, prototypes: 1 } as const

test('a map of layers has a line for each expert, with its load over the mean of its layer', () => {
  // Layer 0 has two experts with 3 and 1 tokens; layer 1 has three, with 2, 2 and 2.
  const routers = [router, { ...router, layer: 1, experts: 3 }]
  const loads = Float32Array.from([3, 1, 0, 3, 1, 0, 2, 2, 2, 2, 2, 2])
  const frame = layerFrame(loads, routers, 3, { order: 'number', stage: 'before' })
  const placeOf = (row: number, column: number) => [routers[row]?.layer ?? -1, frame.expertAt(row, column)] as const
  expect(mapCsv(frame, { sides: ['layer', 'expert'], placeOf })).toBe(
    ['layer,expert,tokens over mean', '0,0,1.5', '0,1,0.5', '1,0,1', '1,1,1', '1,2,1', ''].join('\r\n'),
  )
})

test('a map over time names experts and steps, also when rows are ordered by load', () => {
  const history = Float32Array.from([1, 3, 1, 3, 0, 4, 0, 4])
  const frame = timeFrame(history, router, 2, { order: 'load', stage: 'before' })
  const placeOf = (row: number, column: number) => [frame.expertAt(row, column), [10, 20][column] ?? -1] as const
  expect(mapCsv(frame, { sides: ['expert', 'step'], placeOf })).toBe(
    ['expert,step,tokens over mean', '1,10,1.5', '1,20,2', '0,10,0.5', '0,20,0', ''].join('\r\n'),
  )
})
