/**
 * From a figure to a picture. A form makes the `Body`; here it becomes an SVG element with a name and a
 * description, in a page that has the style of figures already, or as a file that brings its own.
 */
import type { Figure } from '../blocks.ts'
import { element, type Markup, styleElement } from '../markup.ts'
import { barsBody } from './bars.ts'
import { type Body, widths } from './form.ts'
import { heatBody } from './heat.ts'
import { intervalsBody } from './intervals.ts'
import { linesBody } from './lines.ts'
import { scatterBody } from './scatter.ts'
import { figureStyle } from './style.ts'

/** @param name unique in the document; begins the ids of parts */
export function inlineSvg(figure: Figure, name: string, width: number): Markup {
  return svg(figure, name, width, {}, undefined)
}

/** A file of its own: readable on light and on dark, with a margin. */
export function standaloneSvg(figure: Figure, name: string): string {
  return `${svg(figure, name, widths.wide, { xmlns: 'http://www.w3.org/2000/svg' }, styleElement(figureStyle)).text}\n`
}

function svg(
  figure: Figure,
  name: string,
  width: number,
  attributes: Readonly<Record<string, string>>,
  style: Markup | undefined,
): Markup {
  const body = bodyOf(figure, width, `${name}-hatch`)
  const margin = style ? 16 : 0
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
    element('title', { id: `${name}-title` }, figure.caption),
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
