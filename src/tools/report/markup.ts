/**
 * Markup as values. `element` escapes its content and produces well-formed markup, so renderers need not do that.
 *
 * A string child is text. Only a `Markup` is inserted unescaped, and only this file creates one. HTML and SVG are
 * both valid XML, which the tests check with a parser.
 */
import { escapeXml, sanitize } from '../../core/text/escape.ts'

export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Child = Markup | string | readonly Child[] | undefined
export type Attributes = Readonly<Record<string, string | number | undefined>>

/** Elements that close themselves if empty: elements that HTML forbids to close, and shapes of SVG. */
const selfClosing = new Set(['br', 'link', 'meta', 'circle', 'line', 'path', 'rect', 'stop'])

/** @param attributes undefined attributes are omitted, and numbers rounded to hundredths */
export function element(name: string, attributes: Attributes, ...children: readonly Child[]): Markup {
  const attributeText = Object.entries(attributes)
    .filter((entry): entry is [string, string | number] => entry[1] !== undefined)
    .map(([key, value]) => ` ${key}="${escapeText(typeof value === 'number' ? coordinate(value) : value)}"`)
    .join('')
  const inside = joinChildren(children)
  return new Markup(
    inside === '' && selfClosing.has(name)
      ? `<${name}${attributeText}/>`
      : `<${name}${attributeText}>${inside}</${name}>`,
  )
}

/** @param css a style sheet, which must not contain text of users or tags */
export function styleElement(css: string): Markup {
  if (/[<&]/.test(css)) throw new Error('internal: style with markup in it')
  return new Markup(`<style>${css}</style>`)
}

/** Rounds to hundredths of a pixel. @throws internal error unless the value is finite */
export function coordinate(value: number): string {
  if (!Number.isFinite(value)) throw new Error(`internal: ${value} as a coordinate`)
  return String(Math.round(100 * value) / 100 + 0)
}

function joinChildren(children: readonly Child[]): string {
  return children
    .map((child) => {
      if (child === undefined) return ''
      if (typeof child === 'string') return escapeText(child)
      return child instanceof Markup ? child.text : joinChildren(child)
    })
    .join('')
}

const escapeText = (text: string): string => escapeXml(sanitize(text))
