/**
 * Draws figures as SVG with a title and a description, either inline in a page that has the style of figures, or as a
 * file with a style of its own. Each form of figure draws a `Body`.
 */
import type { Figure } from '../blocks.ts'
import { element, type Markup, styleElement } from '../markup.ts'
import { barsBody } from './bars.ts'
import { type Body, widths } from './body.ts'
import { heatBody } from './heat.ts'
import { intervalsBody } from './intervals.ts'
import { linesBody } from './lines.ts'
import { scatterBody } from './scatter.ts'
import { figureStyle } from './style.ts'

/** @param name a name that is unique in the document; the prefix of ids */
export function inlineSvg(figure: Figure, name: string, width: number): Markup {
  return svg(bodyOf(figure, width, `${name}-hatch`), { name, caption: figure.caption, width }, {}, undefined)
}

/** A figure as the text of a separate file. @param margin Space around it, in pixels. */
export function standaloneSvg(
  figure: Figure,
  name: string,
  width: number = widths.wide,
  margin: number = FILE_MARGIN,
): string {
  return svgFile(bodyOf(figure, width, `${name}-hatch`), { name, caption: figure.caption, width, margin })
}

/** What a picture needs in addition to its body. */
interface Frame {
  /** The prefix of ids. */
  readonly name: string
  readonly caption: string
  /** The width for which the body was drawn. */
  readonly width: number
  /** Space around the body in a separate file, in pixels. */
  readonly margin?: number
}

/** Space around the body in a separate file, in pixels. */
export const FILE_MARGIN = 16

/**
 * A drawn body as the text of a separate file, with a background for light and dark viewers and a margin.
 * @param style rules of the body in addition to the style of figures
 */
export function svgFile(body: Body, frame: Frame, style = ''): string {
  const attributes = { xmlns: 'http://www.w3.org/2000/svg' }
  return `${svg(body, frame, attributes, styleElement(`${figureStyle}${style}`)).text}\n`
}

function svg(
  body: Body,
  { name, caption, width, margin: around = FILE_MARGIN }: Frame,
  attributes: Readonly<Record<string, string>>,
  style: Markup | undefined,
): Markup {
  const margin = style ? around : 0
  const [x, y, w, h] = [-margin, -margin, width + 2 * margin, Math.ceil(body.height) + 2 * margin]
  return element(
    'svg',
    {
      ...attributes,
      class: 'plot',
      viewBox: `${x} ${y} ${w} ${h}`,
      width: w,
      height: h,
      role: 'img',
      'aria-labelledby': `${name}-title`,
      'aria-describedby': `${name}-desc`,
    },
    element('title', { id: `${name}-title` }, caption),
    element('desc', { id: `${name}-desc` }, body.description),
    style,
    style ? element('rect', { class: 'back', x, y, width: w, height: h, rx: 6 }) : undefined,
    body.markup,
  )
}

function bodyOf(figure: Figure, width: number, hatch: string): Body {
  switch (figure.form) {
    case 'lines':
      return linesBody(figure, width)
    case 'scatter':
      return scatterBody(figure, width)
    case 'intervals':
      return intervalsBody(figure, width)
    case 'heat':
      return heatBody(figure, width, hatch)
    case 'bars':
      return barsBody(figure, width, hatch)
  }
}
