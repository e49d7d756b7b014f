/**
 * A plot on the page. uPlot provides the axes, the cursor, the zoom and their synchronisation over all plots. Its own
 * series would have to share their x values, which runs do not, so a worker paints the lines as a picture that is drawn
 * into uPlot's box. Until a new picture arrives, the previous picture is drawn at the current place of its values. If
 * the worker fails, the page paints.
 */
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { Tick } from '../../../src/core/charts/ticks.ts'
import type { XAxis } from '../../../src/faces/watch/api.ts'
import type { Ink } from '../shell/theme.ts'
import { type Line, lineOf, type Range } from './drawing/lines.ts'
import { type Frame, paint, paintAbove, paintMark, toX, toY } from './drawing/paint.ts'
import { Painter, type Picture } from './drawing/painter.ts'
import { type Box, CanvasSurface, fontFamily } from './drawing/surface.ts'
import { xTicks, yTicks } from './drawing/ticks.ts'

export interface PlotLook {
  readonly axis: XAxis
  readonly log: boolean
  readonly ink: Ink
}

export interface PlotContent {
  readonly lines: readonly Line[]
  readonly x: Range
  readonly y: Range
  /** The x of a vertical line, such as the current step of a replay. */
  readonly mark?: number | undefined
}

export interface PlotEvents {
  /** Called with a selected range; null for the whole range. */
  readonly zoom: (range: Range | null) => void
  /** Called with the values and the pixels of the window at the pointer; null once it left. */
  readonly hover: (at: { x: number; y: number; left: number; top: number } | null) => void
}

/** Shortest drag: fewer pixels are a click. */
const MIN_DRAG_PX = 4

let shared: Painter | null = null

/** For a page that is a single file: browsers load no worker beside it. Call it before the first plot. */
export function paintWithoutWorker(): void {
  shared = new Painter(null)
}

const painter = (): Painter => {
  shared ??= new Painter(new Worker(new URL('./drawing/paint-worker.ts', import.meta.url), { type: 'module' }))
  return shared
}

export class Plot {
  private readonly plot: uPlot
  private content: PlotContent
  private isDestroyed = false
  private emphasised: string | null = null
  private requested: Picture | null = null
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
    // uPlot may still draw once, if that was scheduled before.
    this.isDestroyed = true
    painter().cancel(this)
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
          ...ticksBy((plot, min, max) => xTicks(axis, min, max, Math.max(2, plot.width / 85))),
        },
        {
          ...common,
          size: 54,
          ...ticksBy((plot, min, max) => yTicks(log, min, max, Math.max(2, plot.height / 45))),
        },
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false, dist: MIN_DRAG_PX },
        sync: {
          key: 'curves',
          scales: ['x', null],
          setSeries: false,
          // A drag selects only in its own plot; the resulting range then applies to all.
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
            if (width < MIN_DRAG_PX) return
            zoom({ min: plot.posToVal(left, 'x'), max: plot.posToVal(left + width, 'x') })
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
          },
        ],
        setCursor: [
          (plot) => {
            const { left = -1, top = -1 } = plot.cursor
            // Synchronised cursors of other plots move without a pointer over them.
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
    if (this.isDestroyed) return
    const { lines, x, y, mark } = this.content
    const box = snapToPixels(bbox)
    const { width, height } = box
    const unit = uPlot.pxRatio
    const surface = new CanvasSurface(canvas)
    const frame = { box, x, y, log }
    if (mark !== undefined) paintMark(surface, frame, mark, unit, ink.text)
    if (painter().hasFailed) paint(surface, lines, frame, unit)
    else {
      this.requestPicture({ lines, x, y, log, size: { width, height }, unit })
      if (this.painted) {
        const { picture, bitmap } = this.painted
        const place = placeIn(frame, picture)
        surface.clipTo(box, () => canvas.drawImage(bitmap, place.left, place.top, place.width, place.height))
      }
    }
    const line = lineOf(lines, this.emphasised)
    if (line && lines.length > 1) paintAbove(surface, line, frame, unit, ink.back)
  }

  private requestPicture(picture: Picture): void {
    const { width, height } = picture.size
    if (width < 1 || height < 1 || (this.requested && isSame(this.requested, picture))) return
    this.requested = picture
    painter().request(this, picture, (bitmap) => {
      this.painted?.bitmap.close()
      this.painted = bitmap && { picture, bitmap }
      this.plot.redraw(false, false)
    })
  }
}

/** Options of an axis with these ticks. uPlot asks for the places of ticks, then for the labels of these places. */
function ticksBy(
  ticksOf: (plot: uPlot, min: number, max: number) => readonly Tick[],
): Required<Pick<uPlot.Axis, 'splits' | 'values'>> {
  let shown: readonly Tick[] = []
  return {
    splits: (plot, _, min, max) => {
      shown = ticksOf(plot, min, max)
      return shown.map(({ value }) => value)
    },
    values: () => shown.map(({ label }) => label),
  }
}

/** Rounds to whole pixels, so that the picture is not blurred: at a pixel ratio of 1.25, uPlot's box has fractions. */
function snapToPixels({ left, top, width, height }: Box): Box {
  const corner = { left: Math.round(left), top: Math.round(top) }
  return { ...corner, width: Math.round(left + width) - corner.left, height: Math.round(top + height) - corner.top }
}

/** Position of a picture in a frame that may show another range. */
function placeIn(frame: Frame, { x, y }: Picture): Box {
  const [left, top] = [toX(frame, x.min), toY(frame, y.max)]
  return { left, top, width: toX(frame, x.max) - left, height: toY(frame, y.min) - top }
}

const isSame = (one: Picture, other: Picture): boolean =>
  one.lines === other.lines &&
  one.unit === other.unit &&
  (['width', 'height'] as const).every((side) => one.size[side] === other.size[side]) &&
  (['x', 'y'] as const).every((axis) => one[axis].min === other[axis].min && one[axis].max === other[axis].max)

/** Data for uPlot: the ends of x, without values. */
const dataOf = ({ x }: PlotContent): uPlot.AlignedData => [
  [x.min, x.max],
  [null, null],
]
