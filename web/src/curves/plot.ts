/**
 * A plot on the page. uPlot has the axes, the cursor, the zoom and their synchronisation over all plots; its own
 * series would have to share their places on x, which runs do not, so lines are painted into its box, as a picture
 * that a worker makes. Until that is there the picture before it stands in its place, moved to where its values are
 * now. Where the worker fails, the page paints.
 */
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { XAxis } from '../../../src/watch/api.ts'
import { CanvasSurface } from './drawing/canvas-surface.ts'
import { type Ink, tickText } from './drawing/figure.ts'
import { type Line, lineOf, type Range } from './drawing/lines.ts'
import { type Frame, paint, paintAbove, toX, toY } from './drawing/paint.ts'
import { Painter, type Picture } from './drawing/painter.ts'
import { type Box, fontFamily } from './drawing/surface.ts'
import { linearTicks, logTicks, xText, xTicks } from './drawing/ticks.ts'

export interface PlotLook {
  readonly axis: XAxis
  readonly log: boolean
  readonly ink: Ink
}

export interface PlotContent {
  readonly lines: readonly Line[]
  readonly x: Range
  readonly y: Range
}

export interface PlotEvents {
  /** Null: the whole range. */
  readonly zoom: (range: Range | null) => void
  /** The pointer is at these values, and at these pixels of the window; null when it left. */
  readonly hover: (at: { x: number; y: number; left: number; top: number } | null) => void
}

/** Least pixels that are a drag and not a click. */
const MIN_DRAG = 4

let shared: Painter | null = null
const painter = (): Painter => {
  shared ??= new Painter(new Worker(new URL('./drawing/paint-worker.ts', import.meta.url), { type: 'module' }))
  return shared
}

export class Plot {
  private readonly plot: uPlot
  private content: PlotContent
  private isGone = false
  private emphasised: string | null = null
  private wanted: Picture | null = null
  private painted: { readonly picture: Picture; readonly bitmap: ImageBitmap } | null = null

  constructor(host: HTMLElement, look: PlotLook, content: PlotContent, events: PlotEvents) {
    this.content = content
    this.plot = new uPlot(this.options(host, look, events), dataOf(content), host)
    const leave = () => events.hover(null)
    this.plot.over.addEventListener('pointerleave', leave)
  }

  show(content: PlotContent): void {
    this.content = content
    this.plot.batch(() => {
      this.plot.setData(dataOf(content), false)
      this.plot.setScale('x', { ...content.x })
      this.plot.setScale('y', { ...content.y })
      this.plot.redraw(false, true)
    })
  }

  /** Draws the line of this run above all others. */
  emphasise(run: string | null): void {
    const { lines } = this.content
    const before = lineOf(lines, this.emphasised)
    this.emphasised = run
    if (lineOf(lines, run) !== before) this.plot.redraw(false, false)
  }

  resize(width: number, height: number): void {
    if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height })
  }

  destroy(): void {
    // uPlot may still draw once: what it planned before.
    this.isGone = true
    painter().forget(this)
    this.painted?.bitmap.close()
    this.plot.destroy()
  }

  private options(host: HTMLElement, { axis, log, ink }: PlotLook, { zoom, hover }: PlotEvents): uPlot.Options {
    const common = {
      stroke: ink.quiet,
      font: `11px ${fontFamily}`,
      grid: { stroke: ink.grid, width: 1 },
      ticks: { show: false },
      filter: (_: uPlot, splits: number[]) => splits,
    }
    return {
      width: Math.max(50, host.clientWidth),
      height: Math.max(50, host.clientHeight),
      padding: [8, 14, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, auto: false, ...this.content.x },
        y: { auto: false, distr: log ? 3 : 1, ...this.content.y },
      },
      series: [{}, { show: true, points: { show: false }, paths: () => null }],
      axes: [
        {
          ...common,
          size: 26,
          splits: (plot, _, min, max) => [...xTicks(axis, min, max, Math.max(2, plot.width / 85))],
          values: (_, splits) => splits.map((value) => xText(axis, value)),
        },
        {
          ...common,
          size: 54,
          splits: (plot, _, min, max) => [...(log ? logTicks : linearTicks)(min, max, Math.max(2, plot.height / 45))],
          values: (_, splits) => splits.map(tickText),
        },
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false, dist: MIN_DRAG },
        sync: {
          key: 'curves',
          scales: ['x', null],
          setSeries: false,
          // A drag in one plot selects in that one; the range that comes of it is that of all.
          filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave' },
        },
        bind: {
          dblclick: () => () => {
            zoom(null)
            return null
          },
        },
      },
      hooks: {
        draw: [(plot) => this.paint(plot, { log, ink })],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select
            if (width < MIN_DRAG) return
            zoom({ min: plot.posToVal(left, 'x'), max: plot.posToVal(left + width, 'x') })
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
          },
        ],
        setCursor: [
          (plot) => {
            const { left = -1, top = -1 } = plot.cursor
            // Cursors of the other plots move along without a pointer over them.
            if (left < 0 || !plot.over.matches(':hover')) return
            const corner = plot.over.getBoundingClientRect()
            const place = { left: left + corner.left, top: corner.top }
            hover({ x: plot.posToVal(left, 'x'), y: plot.posToVal(top, 'y'), ...place })
          },
        ],
      },
    }
  }

  private paint({ bbox, ctx: canvas }: uPlot, { log, ink }: Pick<PlotLook, 'log' | 'ink'>): void {
    if (this.isGone) return
    const { lines, x, y } = this.content
    const box = inPixels(bbox)
    const { width, height } = box
    const unit = uPlot.pxRatio
    const surface = new CanvasSurface(canvas)
    const frame = { box, x, y, log }
    if (painter().hasFailed) paint(surface, lines, frame, unit)
    else {
      this.want({ lines, x, y, log, size: { width, height }, unit })
      if (this.painted) {
        const { picture, bitmap } = this.painted
        const place = placeIn(frame, picture)
        surface.within(box, () => canvas.drawImage(bitmap, place.left, place.top, place.width, place.height))
      }
    }
    const line = lineOf(lines, this.emphasised)
    if (line && lines.length > 1) paintAbove(surface, line, frame, unit, ink.back)
  }

  private want(picture: Picture): void {
    const { width, height } = picture.size
    if (width < 1 || height < 1 || (this.wanted && isSame(this.wanted, picture))) return
    this.wanted = picture
    painter().want(this, picture, (bitmap) => {
      this.painted?.bitmap.close()
      this.painted = bitmap && { picture, bitmap }
      this.plot.redraw(false, false)
    })
  }
}

/** A picture that lies between pixels would be blurred: with a screen of 1.25 pixels to one, uPlot's box does. */
function inPixels({ left, top, width, height }: Box): Box {
  const corner = { left: Math.round(left), top: Math.round(top) }
  return { ...corner, width: Math.round(left + width) - corner.left, height: Math.round(top + height) - corner.top }
}

/** Where the values of a picture lie in a frame that may show others. */
function placeIn(frame: Frame, { x, y }: Picture): Box {
  const [left, top] = [toX(frame, x.min), toY(frame, y.max)]
  return { left, top, width: toX(frame, x.max) - left, height: toY(frame, y.min) - top }
}

const isSame = (one: Picture, other: Picture): boolean =>
  one.lines === other.lines &&
  one.unit === other.unit &&
  (['width', 'height'] as const).every((side) => one.size[side] === other.size[side]) &&
  (['x', 'y'] as const).every((axis) => one[axis].min === other[axis].min && one[axis].max === other[axis].max)

/** Something for uPlot to have: the ends of x, without values. */
const dataOf = ({ x }: PlotContent): uPlot.AlignedData => [
  [x.min, x.max],
  [null, null],
]
