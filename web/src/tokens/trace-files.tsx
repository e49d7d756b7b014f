/** Saves the text of a trace as it is coloured: its experts as CSV, and its picture as PNG and SVG. */
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { downloadCsv, PNG_SCALE, savePng, saveSvg } from '../curves/download.ts'
import { CanvasSurface, fontFamily, type Surface, SvgSurface } from '../curves/drawing/surface.ts'
import { routerNames } from '../experts/heat-map/frame.ts'
import { scheme } from '../shell/theme.ts'
import { choiceName, expertOf, traceCsv } from './choices.ts'
import { colorOf, css, lineOf, type Side } from './expert-colors.ts'
import { layOut } from './pieces.ts'

interface TraceFilesProps {
  readonly run: string
  readonly step: number
  readonly tokens: readonly string[]
  readonly routers: readonly TokenRouter[]
  /** Index of the router, and of its choice, by which the text is coloured. */
  readonly chosen: number
  readonly choice: number
  readonly side: Side
}

export function TraceFiles(props: TraceFilesProps) {
  const { run, step, tokens, routers } = props
  const title = titleOf(props)
  const savePicture = (as: 'png' | 'svg') => {
    const canvas = document.createElement('canvas')
    const context = canvas.getContext('2d')
    if (!context) return
    const picture = pictureOf(props, context)
    const [width, height] = [WIDTH + 2 * EDGE, TOP + picture.height + BOTTOM]
    if (as === 'svg') {
      const surface = new SvgSurface(width, height)
      paintText(surface, title, picture, props.side)
      saveSvg(String(surface), title)
      return
    }
    canvas.width = width * PNG_SCALE
    canvas.height = height * PNG_SCALE
    context.scale(PNG_SCALE, PNG_SCALE)
    paintText(new CanvasSurface(context), title, picture, props.side)
    savePng(canvas, title)
  }
  return (
    <p class="map-files">
      <button type="button" class="quiet" onClick={() => savePicture('png')}>
        Save picture (PNG)
      </button>
      <button type="button" class="quiet" onClick={() => savePicture('svg')}>
        SVG
      </button>
      <button
        type="button"
        class="quiet"
        title="The experts of each token in all layers"
        onClick={() =>
          downloadCsv(`Experts of tokens, ${run}, step ${step}`, traceCsv(tokens, routers, routerNames(routers)))
        }
      >
        Save experts (CSV)
      </button>
    </p>
  )
}

/** Width of the text, and the margins of the picture, in pixels. */
const [WIDTH, EDGE, TOP, BOTTOM] = [880, 16, 44, 14]

function titleOf({ run, step, routers, chosen, choice }: TraceFilesProps): string {
  const name = choiceName(routers[chosen] as TokenRouter, choice)
  const layer = routerNames(routers)[chosen]
  return `Tokens by expert of layer ${layer}${name === null ? '' : `, ${name}`}, ${run} at step ${step}`
}

/** Sizes of the text and of the numbers of experts after it, and the space around a number. */
const [SIZE, SMALL, GAP] = [14, 9, 4]

/** The placed tokens, each with its expert. Its number is in the picture too, which has no list of experts beside it. */
function pictureOf({ tokens, routers, chosen, choice }: TraceFilesProps, context: CanvasRenderingContext2D) {
  const router = routers[chosen] as TokenRouter
  const widthOf = (text: string, size: number) => {
    context.font = `${size}px ${fontFamily}`
    return context.measureText(text).width
  }
  const numberOf = (token: number) => {
    const expert = expertOf(router, token, choice)
    return expert < 0 ? '' : String(expert)
  }
  const { placed, height } = layOut(
    tokens,
    WIDTH,
    (text, token) => widthOf(text, SIZE) + widthOf(numberOf(token), SMALL) + GAP,
  )
  return { height, placed: placed.map((each) => ({ ...each, number: numberOf(each.token) })) }
}

function paintText(
  surface: Surface,
  title: string,
  { placed, height }: ReturnType<typeof pictureOf>,
  side: Side,
): void {
  const { color, backgroundColor } = getComputedStyle(document.body)
  surface.box({ left: 0, top: 0, width: WIDTH + 2 * EDGE, height: TOP + height + BOTTOM }, backgroundColor)
  surface.text(title, EDGE, 26, { color, size: 14, anchor: 'start', bold: true })
  for (const { text, number, x, y, width } of placed) {
    const box = { left: EDGE + x, top: TOP + y, width: width - 1, height: 20 }
    if (number !== '') {
      const [ground, line] = [colorOf, lineOf].map((of) => css(of(Number(number), scheme.value, side)))
      surface.box(box, ground as string)
      surface.box({ ...box, top: side === 0 ? box.top + box.height - 2 : box.top, height: 2 }, line as string)
    }
    surface.text(text, box.left, box.top + 14.5, { color, size: SIZE, anchor: 'start' })
    surface.text(number, box.left + width - 2, box.top + 10, { color, size: SMALL, anchor: 'end' })
  }
}
