/** Reads the documents in a file of a package: decompressed, decoded, and without markup. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { dictionaryTexts } from './clean/dictionary.ts'
import { htmlText } from './clean/html.ts'
import { manText } from './clean/man.ts'
import { normalText } from './clean/normal.ts'
import { podText } from './clean/pod.ts'
import type { Markup } from './recipe.ts'

export interface Document {
  readonly name: string
  /** Normal text (clean/normal.ts), which may be empty, or the problem that makes it unusable. */
  readonly text: string | { readonly problem: Unusable }
}

export type Unusable = 'binary' | 'encoding' | 'damaged'

export interface FileDocuments {
  /** Documents in the order of the file. The entries of a dictionary are made one by one. */
  readonly documents: Iterable<Document>
  /** Bytes of the file, decompressed. */
  readonly bytes: number
}

/** The name of the document in a file, which is the file's name without the ending of a compression. */
export const documentName = (file: string): string => file.replace(/\.(gz|dz)$/, '')

/** Reads the documents of a file. @param name path of the file in its package */
export function fileDocuments(path: string, name: string, markup: Markup): FileDocuments {
  const raw = readFileSync(path)
  const base = documentName(name)
  const unusable = (problem: Unusable, bytes: number): FileDocuments => ({
    documents: [{ name: base, text: { problem } }],
    bytes,
  })
  let content: Uint8Array = raw
  if (base !== name)
    try {
      content = gunzipSync(raw)
    } catch {
      return unusable('damaged', raw.length)
    }
  const bytes = content.length
  if (content.includes(0)) return unusable('binary', bytes)
  // A dictionary has thousands of entries, so a damaged entry does not make the others unusable.
  if (markup === 'dictionary') return { documents: entries(new TextDecoder().decode(content), base), bytes }
  const source = decoded(content)
  if (source === undefined) return unusable('encoding', bytes)
  return { documents: [{ name: base, text: normalText(plain(source, markup)) }], bytes }
}

function* entries(source: string, base: string): Generator<Document> {
  let number = 0
  for (const text of dictionaryTexts(source))
    yield {
      name: `${base}:${++number}`,
      text: text.includes('\ufffd') ? { problem: 'encoding' } : normalText(text),
    }
}

function plain(source: string, markup: Exclude<Markup, 'dictionary'>): string {
  if (markup === 'html') return htmlText(source)
  if (markup === 'man') return manText(source)
  if (markup === 'pod') return podText(source)
  return source
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Declarations of an encoding in HTML, Emacs and POD, in the first bytes of a file. */
const declared = /charset=["']?([\w-]+)|-\*-.*?coding:\s*([\w-]+)|^=encoding\s+([\w-]+)/m

/** Decodes text in UTF-8, or in the encoding that the file declares; undefined if the text is in neither. */
function decoded(content: Uint8Array): string | undefined {
  try {
    return utf8.decode(content)
  } catch {
    const head = Buffer.from(content.subarray(0, 2048)).toString('latin1')
    const label = declared.exec(head)?.slice(1).find(Boolean)
    if (label === undefined || /^utf-?8$/i.test(label)) return undefined
    try {
      return new TextDecoder(label, { fatal: true }).decode(content)
    } catch {
      return undefined
    }
  }
}
