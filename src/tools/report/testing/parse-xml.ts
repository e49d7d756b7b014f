/** A strict parser of markup for tests: it throws unless the markup is well-formed. */
import { SaxesParser } from 'saxes'

export interface ParsedElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  /** Text of the element and its descendants, except titles. */
  text: string
  readonly parents: readonly string[]
}

/** All elements in document order. */
export function parseXml(markup: string): ParsedElement[] {
  const parser = new SaxesParser()
  const all: ParsedElement[] = []
  const open: ParsedElement[] = []
  parser.on('error', (error) => {
    throw error
  })
  parser.on('opentag', ({ name, attributes }) => {
    const one = { name, attributes, text: '', parents: open.map((parent) => parent.name) }
    all.push(one)
    open.push(one)
  })
  parser.on('closetag', () => {
    open.pop()
  })
  parser.on('text', (text) => {
    // Titles have full names that the picture does not show.
    for (const one of open.at(-1)?.name === 'title' ? open.slice(-1) : open) one.text += text
  })
  parser.write(markup).close()
  return all
}
