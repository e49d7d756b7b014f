/**
 * The text of a PDF of pdfkit, for tests: glyphs of its pages are mapped back to characters by the tables of its fonts.
 * A piece of text is what one operator shows.
 */
import { inflateSync } from 'node:zlib'

export interface PdfContents {
  readonly texts: readonly string[]
  /** Names of embedded fonts. */
  readonly fonts: readonly string[]
  /** The operators of the page. */
  readonly page: string
}

export function readPdf(bytes: Uint8Array): PdfContents {
  const file = Buffer.from(bytes).toString('latin1')
  const objects = new Map(
    [...file.matchAll(/^(\d+) 0 obj\n(.*?)\nendobj$/gms)].map(([, id = '', body = '']) => [id, body]),
  )
  const streamOf = (id: string): string => {
    const body = objects.get(id) ?? ''
    const [, data = ''] = /stream\n(.*)\nendstream/s.exec(body) ?? []
    const raw = Buffer.from(data, 'latin1')
    return (body.includes('/FlateDecode') ? inflateSync(raw) : raw).toString('latin1')
  }
  const all = [...objects.values()].join('\n')
  const fonts = new Map(
    [...all.matchAll(/\/(F\d+) (\d+) 0 R/g)].map(([, name = '', id = '']) => {
      const [, map = ''] = /\/ToUnicode (\d+) 0 R/.exec(objects.get(id) ?? '') ?? []
      return [name, charactersOf(streamOf(map))]
    }),
  )
  const [, contents = ''] = /\/Contents (\d+) 0 R/.exec(all) ?? []
  const page = streamOf(contents)
  const texts: string[] = []
  let font: readonly string[] = []
  for (const [, name, shown] of page.matchAll(/\/(F\d+) [\d.]+ Tf|\[(.*?)\] TJ/g)) {
    if (name !== undefined) font = fonts.get(name) ?? []
    else
      texts.push(
        [...(shown ?? '').matchAll(/<([\da-f]+)>/g)]
          .flatMap(([, hex = '']) => hex.match(/.{4}/g) ?? [])
          .map((glyph) => font[Number.parseInt(glyph, 16)] ?? '')
          .join(''),
      )
  }
  return { texts, fonts: [...all.matchAll(/\/FontName \/(\S+)/g)].map(([, name = '']) => name), page }
}

/** Characters by glyph, from a map with ranges such as `<0000> <0002> [<0000> <0061> <2212>]`. */
function charactersOf(map: string): string[] {
  const characters: string[] = []
  for (const [, first = '', list = ''] of map.matchAll(/<([\da-f]+)> <[\da-f]+> \[(.*?)\]/gs))
    for (const [i, [, hex = '']] of [...list.matchAll(/<([\da-f ]*)>/g)].entries())
      characters[Number.parseInt(first, 16) + i] = Buffer.from(hex.replaceAll(' ', ''), 'hex')
        .swap16()
        .toString('utf16le')
  return characters
}
