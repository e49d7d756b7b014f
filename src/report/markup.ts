/**
 * Markup as values: what is built with `element` is escaped and well-formed, so no renderer has to think of it.
 *
 * A child that is a string is text; only a `Markup` goes in as it is, and only this file makes one.
 * Both HTML and SVG come from here, in a form that an XML parser reads too, which is how tests check it.
 */
import { clean, escapeXml } from '../text/escape.ts'

export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type Child = Markup | string | readonly Child[] | undefined
export type Attributes = Readonly<Record<string, string | number | undefined>>

/** Elements that HTML forbids to close, and shapes of SVG: both may close themselves. */
const selfClosing = new Set(['br', 'link', 'meta', 'circle', 'line', 'path', 'rect', 'stop'])

/** @param attributes those that are undefined are left out; numbers are rounded to hundredths */
export function element(name: string, attributes: Attributes, ...children: readonly Child[]): Markup {
  const written = Object.entries(attributes)
    .filter((entry): entry is [string, string | number] => entry[1] !== undefined)
    .map(([key, value]) => ` ${key}="${escaped(typeof value === 'number' ? coordinate(value) : value)}"`)
    .join('')
  const inside = joined(children)
  return new Markup(
    inside === '' && selfClosing.has(name) ? `<${name}${written}/>` : `<${name}${written}>${inside}</${name}>`,
  )
}

/** Text of CSS: neither user's words nor a closing tag may be in it. */
export function styleElement(css: string): Markup {
  if (/[<&]/.test(css)) throw new Error('internal: style with markup in it')
  return new Markup(`<style>${css}</style>`)
}

/** Hundredths of a pixel are enough. A number that is none is a bug of the figure, never something to write. */
export function coordinate(value: number): string {
  if (!Number.isFinite(value)) throw new Error(`internal: ${value} as a coordinate`)
  return String(Math.round(100 * value) / 100 + 0)
}

function joined(children: readonly Child[]): string {
  return children
    .map((child) => {
      if (child === undefined) return ''
      if (typeof child === 'string') return escaped(child)
      return child instanceof Markup ? child.text : joined(child)
    })
    .join('')
}

const escaped = (text: string): string => escapeXml(clean(text))
