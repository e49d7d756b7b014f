import { SaxesParser } from 'saxes'
import { describe, expect, it } from 'vitest'
import { toCsv } from '../series/csv.ts'
import { drawFigure, FIGURE_WIDTH, type Figure, figureHeight } from './figure.ts'
import { exits, type Frame, pieces } from './paint.ts'
import { labelsAtLines, labelsIn } from './paint-baseline.ts'
import { SvgSurface } from './svg-surface.ts'

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

describe('a figure of differences', () => {
  const difference = {
    from: 'top-1',
    counts: [
      { x: 0, text: '4 pairs' },
      { x: 2, text: '3 pairs' },
    ],
  }
  const drawn: Figure = {
    ...figure([]),
    metric: 'eval/loss',
    lines: [
      {
        ...line([1, 2, 3, 4, 4]),
        name: 'top-2',
        band: { low: [0, 1, null, null, 3], high: [2, 3, null, null, 5], count: [4, 4, 3, 2, 4] },
        ofPairs: true,
      },
    ],
    y: { min: -10, max: 10 },
    difference,
  }

  it('names the baseline in its title and at the zero line, and the numbers of pairs where they change', () => {
    const { texts, text } = svg(drawn)
    for (const each of ['Held-out loss minus top-1, nats a token', 'top-1', '4 pairs', '3 pairs'])
      expect(texts).toContain(each)
    // Zero is in the middle of the plot, which begins at y 48 and is 480 high.
    expect(text).toContain('points="76 288 936 288" fill="none" stroke="#555"')
  })

  it('interrupts a line where other pairs are averaged, and draws no band without an interval', () => {
    const { text } = svg(drawn)
    // Steps are 215 apart, values 24. Two points are a line, and single points are dots.
    expect(text).toContain('points="76 264 291 240" fill="none" stroke="#0072b2"')
    expect(text.match(/<circle /g)).toHaveLength(3)
    const bands = text.match(/<polygon points="([^"]+)"/g)
    expect(bands).toHaveLength(2)
    // The interval of a single point is a bar.
    expect(bands?.[1]).toContain('933 168 939 168 939 216 933 216')
  })
})

describe('labels of the number of pairs', () => {
  const frame: Frame = {
    box: { left: 0, top: 0, width: 100, height: 100 },
    x: { min: 10, max: 20 },
    y: { min: 0, max: 1 },
    log: false,
  }

  it('are at the left edge if the number is in force there, and then where it changes', () => {
    const counts = [
      { x: 0, text: '4 pairs' },
      { x: 5, text: '3 pairs' },
      { x: 15, text: '2 pairs' },
      { x: 30, text: '1 pair' },
    ]
    expect(labelsIn(frame, counts, 20)).toEqual([
      { at: 0, text: '3 pairs', isChange: false },
      { at: 50, text: '2 pairs', isChange: true },
    ])
  })

  it('of single lines are above the beginnings of their pieces, in the frame, and do not hide each other', () => {
    const counts = [
      { x: 5, y: 0.5, text: 'before' },
      { x: 10, y: 0.5, text: '4 pairs' },
      { x: 12, y: 0.45, text: 'hidden' },
      { x: 20, y: 0.5, text: '2 pairs' },
    ]
    expect(labelsAtLines(frame, counts, 1)).toEqual([
      { at: 0, y: 46, text: '4 pairs' },
      { at: 56, y: 46, text: '2 pairs' },
    ])
    expect(labelsIn(frame, counts, 20)).toEqual([])
  })

  it('are the last ones of several that follow closely', () => {
    const counts = [12, 13, 14].map((x) => ({ x, text: `${x}` }))
    expect(labelsIn(frame, counts, 20).map(({ text }) => text)).toEqual(['14'])
  })
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
