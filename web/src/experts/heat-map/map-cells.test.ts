import { expect, test } from 'vitest'
import { diverging } from '../../../../src/core/charts/palette.ts'
import { SvgSurface } from '../../curves/drawing/surface.ts'
import { DEAD, OVERLOADED } from '../expert-load.ts'
import { axisOf } from './axis.ts'
import type { Frame } from './frame.ts'
import { paintCells } from './map-cells.ts'

const frameOf = (rows: number, columns: number, values: number[], marks: number[] = []): Frame => ({
  ...{ rows, columns, rowGaps: [], columnGaps: [], expertAt: (_row: number, column: number) => column },
  values: Float32Array.from(values),
  marks: Uint8Array.from(values, (_, i) => marks[i] ?? 0),
})

const svgOf = (frame: Frame, width: number, height: number) => {
  const surface = new SvgSurface(width + 10, height + 20)
  const across = axisOf(frame.columns, width, [], 0)
  paintCells(surface, frame, { across, down: axisOf(frame.rows, height, [], 0), ratio: 1, dark: false, end: 4 }, 10, 20)
  return String(surface)
}

test('each expert is a box at its place in the colour of its load, and a missing expert has none', () => {
  const svg = svgOf(frameOf(2, 2, [4, 0.25, 1, Number.NaN]), 20, 8)
  const boxes = [...svg.matchAll(/<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="([^"]+)"/g)]
  const scale = diverging.light
  expect(boxes.map(([, ...found]) => found.map((each) => (each.startsWith('#') ? each : Number(each))))).toEqual([
    [10, 20, 10, 4, scale.at(-1)],
    [20, 20, 10, 4, scale[0]],
    [10, 24, 10, 4, scale[(scale.length - 1) / 2]],
  ])
})

test('a cell with room has its number; a dead expert has a cross, and a ring is around an overloaded one', () => {
  const svg = svgOf(frameOf(1, 3, [1.04, 0, 2.5], [0, DEAD, OVERLOADED]), 150, 20)
  expect([...svg.matchAll(/<text[^>]*>([^<]+)</g)].map(([, text]) => text)).toEqual(['1.04', '2.50'])
  const lines = [...svg.matchAll(/<polyline points="([^"]+)"/g)].map(([, points = '']) => points.split(' ').length / 2)
  expect(lines).toEqual([2, 2, 25])
})

test('a map of many snapshots has at most one box for each pixel of a row', () => {
  const svg = svgOf(frameOf(1, 10_000, new Array(10_000).fill(1)), 100, 4)
  expect(svg.match(/<rect/g)).toHaveLength(100)
})
