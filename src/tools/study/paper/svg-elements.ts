/** The elements of an SVG file in their order, as one list: figures nest elements only in patterns and for tooltips. */
import { Parser } from 'htmlparser2'

export interface SvgElement {
  readonly tag: string
  readonly attributes: Readonly<Record<string, string>>
  readonly parent: string | undefined
  /** The id of the pattern that the element is a part of. */
  readonly pattern: string | undefined
  /** The text directly in it, without the text of its tooltip. */
  readonly text: string
}

export function elementsOf(svg: string): SvgElement[] {
  const elements: (SvgElement & { text: string })[] = []
  const open: (SvgElement & { text: string })[] = []
  const parser = new Parser(
    {
      onopentag: (tag, attributes) => {
        const parent = open.at(-1)
        const pattern = parent?.tag === 'pattern' ? parent.attributes.id : undefined
        const element = { tag, attributes, parent: parent?.tag, pattern, text: '' }
        elements.push(element)
        open.push(element)
      },
      ontext: (text) => {
        const element = open.at(-1)
        if (element) element.text += text
      },
      onclosetag: () => {
        open.pop()
      },
    },
    { xmlMode: true, decodeEntities: true },
  )
  parser.end(svg)
  return elements
}
