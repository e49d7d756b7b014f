/** From a file of a package to the text of its documents: decompressed, decoded, without markup. */
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
  /** Normal text (clean/normal.ts); may be empty. */
  readonly text: string
}

export type Unusable = 'binary' | 'encoding' | 'damaged'

export interface FileDocuments {
  readonly documents: readonly Document[]
  /** Bytes of the file, decompressed. */
  readonly bytes: number
  /** Why it, or a document in it, cannot be used. */
  readonly problems: readonly Unusable[]
}

/** Reads a file. One that is not text, or in an unknown encoding, gives no documents. */
export function fileDocuments(path: string, name: string, markup: Markup): FileDocuments {
  const raw = readFileSync(path)
  let content: Uint8Array = raw
  if (/\.(gz|dz)$/.test(name))
    try {
      content = gunzipSync(raw)
    } catch {
      return { documents: [], bytes: raw.length, problems: ['damaged'] }
    }
  const bytes = content.length
  if (content.includes(0)) return { documents: [], bytes, problems: ['binary'] }
  const base = name.replace(/\.(gz|dz)$/, '')
  if (markup === 'dictionary') {
    // Thousands of entries: a damaged one does not make the others unusable.
    const texts = dictionaryTexts(new TextDecoder().decode(content))
    const documents = texts
      .map((text, i) => ({ name: `${base}:${i + 1}`, text: normalText(text) }))
      .filter(({ text }) => !text.includes('\ufffd'))
    return { documents, bytes, problems: Array(texts.length - documents.length).fill('encoding') }
  }
  const source = decoded(content)
  if (source === undefined) return { documents: [], bytes, problems: ['encoding'] }
  return { documents: [{ name: base, text: normalText(plain(source, markup)) }], bytes, problems: [] }
}

function plain(source: string, markup: Exclude<Markup, 'dictionary'>): string {
  if (markup === 'html') return htmlText(source)
  if (markup === 'man') return manText(source)
  if (markup === 'pod') return podText(source)
  return source
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Declarations of HTML, Emacs and POD, in the first bytes of a file. */
const declared = /charset=["']?([\w-]+)|-\*-.*?coding:\s*([\w-]+)|^=encoding\s+([\w-]+)/m

/** Text in UTF-8, or in the encoding that the file declares; undefined if it is neither. */
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
