import { SaxesParser } from 'saxes'
import { describe, expect, it, test } from 'vitest'
import { toCsv } from '../download.ts'
import { drawFigure, FIGURE_WIDTH, type Figure, figureHeight } from './figure.ts'
import { exits, type Frame, paintMark, pieces } from './paint.ts'
import { SvgSurface } from './surface.ts'

const hostile = `</text><script>alert("1")</script> & 'x' \u0000`
const line = (y: (number | null)[]) => ({
  run: 'a',
  name: hostile,
  style: { color: '#0072b2', dash: [8, 4] },
  x: y.map((_, index) => index),
  y,
})
const figure = (y: (number | null)[]): Figure => ({
  metric: 'train/<loss>',
  axis: 'step',
  lines: [line(y)],
  x: { min: 0, max: 4 },
  y: { min: 0, max: 10 },
  log: false,
})
const ink = { back: '#fff', text: '#000', quiet: '#555', grid: '#ddd' }

function svg(drawn: Figure): { text: string; elements: string[]; texts: string[] } {
  const surface = new SvgSurface(FIGURE_WIDTH, figureHeight(drawn))
  drawFigure(surface, drawn, ink)
  const elements: string[] = []
  const texts: string[] = []
  const parser = new SaxesParser()
  parser.on('error', (error) => {
    throw error
  })
  parser.on('opentag', ({ name }) => elements.push(name))
  parser.on('text', (text) => texts.push(text))
  parser.write(String(surface)).close()
  return { text: String(surface), elements, texts }
}

describe('a figure as SVG', () => {
  it('is well-formed, and names from files are escaped', () => {
    const { elements, texts } = svg(figure([1, 2, 3, 4]))
    expect(elements).not.toContain('script')
    expect(texts).toContain('train/<loss>')
    expect(texts.some((text) => text.startsWith('\u2068</text><scr'))).toBe(true)
  })

  it('has a gap where values are missing', () => {
    const { text } = svg(figure([10, 0, null, 5, 5]))
    // The plot begins at x 76 and is 860 wide for 4 steps; it begins at y 48 and is 480 high for a range of 10.
    expect(text).toContain('points="76 48 291 528"')
    expect(text).toContain('points="721 288 936 288"')
  })
})

test('a mark is a vertical line over the whole height of the plot, at its place on the axis', () => {
  const surface = new SvgSurface(400, 100)
  const box = { left: 100, top: 20, width: 200, height: 50 }
  paintMark(surface, { box, x: { min: 0, max: 400 }, y: { min: 0, max: 1 }, log: false }, 100, 1, '#123456')
  // A quarter of the axis is 50 of its 200 pixels.
  expect(String(surface)).toContain('points="150 20 150 70" fill="none" stroke="#123456"')
})

describe('a line that leaves the frame', () => {
  const frame: Frame = {
    box: { left: 0, top: 0, width: 100, height: 100 },
    x: { min: 0, max: 10 },
    y: { min: 0, max: 10 },
    log: false,
  }

  it('is marked where it crosses an edge, and not where it stays inside', () => {
    // From 5 at step 2 to 15 at step 4, it crosses 10 at step 3; from 15 to −10 within a step, both edges.
    const found = exits(frame, [0, 2, 4, 6, 7], [5, 5, 15, 15, -10], 1)
    expect(found).toEqual([
      { at: 30, isAbove: true },
      { at: expect.closeTo(62, 9), isAbove: true },
      { at: expect.closeTo(66, 9), isAbove: false },
    ])
    expect(exits(frame, [0, 5, 10], [0, 10, 5], 1)).toEqual([])
  })

  it('has few marks however often it crosses, and its triangle in a picture', () => {
    const x = Array.from({ length: 101 }, (_, i) => i / 10)
    const noisy = x.map((_, i) => (i % 2 === 0 ? 5 : 15))
    expect(exits(frame, x, noisy, 20).length).toBeLessThanOrEqual(5)
    expect(svg(figure([5, 5, 15])).text).toMatch(/<polygon points="[^"]+" fill="#0072b2" opacity="1"\/>/)
    expect(svg(figure([5, 5, 5])).text).not.toContain('<polygon')
  })
})

describe('pieces of a line', () => {
  const frame: Frame = {
    box: { left: 0, top: 0, width: 100, height: 100 },
    x: { min: 10, max: 20 },
    y: { min: 1, max: 100 },
    log: true,
  }

  it('contain the visible points and one more on either side', () => {
    const found = pieces(frame, [0, 5, 10, 20, 25, 30], [1, 10, 100, 10, 1, 100])
    expect(found.map((piece) => piece.map((value) => Math.round(value)))).toEqual([[-50, 50, 0, 0, 100, 50, 150, 100]])
  })

  it('end where a value has no logarithm', () => {
    expect(pieces(frame, [10, 15, 20], [1, 0, 100])).toEqual([
      [0, 100],
      [100, 0],
    ])
  })
})

describe('points as CSV', () => {
  it('have one row each, and names that spreadsheets do not evaluate', () => {
    const series = [
      { run: 'a', x: [1, 2], y: [0.5, null], raw: [0.25, null], of: 2 },
      { run: 'b', x: [1], y: [3], of: 1 },
    ]
    const names = new Map([
      ['a', '=1+1'],
      ['b', 'one, "two"'],
    ])
    expect(toCsv({ metric: 'train/loss', x: 'step', series }, names)).toBe(
      [
        'run,step,train/loss,train/loss (not smoothed)',
        "'=1+1,1,0.5,0.25",
        "'=1+1,2,,",
        '"one, ""two""",1,3,3',
        '',
      ].join('\r\n'),
    )
  })
})
