/** Markup read back by a strict parser, which throws at what is not well-formed. */
import { SaxesParser } from 'saxes'

export interface Parsed {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  /** Text of the element and all in it, besides titles. */
  text: string
  readonly parents: readonly string[]
}

/** All elements in the order in which they begin. */
export function parsed(markup: string): Parsed[] {
  const parser = new SaxesParser()
  const all: Parsed[] = []
  const open: Parsed[] = []
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
    // The whole of a name that was cut is not what a picture shows.
    for (const one of open.at(-1)?.name === 'title' ? open.slice(-1) : open) one.text += text
  })
  parser.write(markup).close()
  return all
}
