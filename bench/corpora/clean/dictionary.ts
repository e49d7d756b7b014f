/** Reads dictionaries of dictd, which have thousands of short entries in one file, in alphabetical order. */

/** Length in characters from which on a document of entries is complete. */
const DOCUMENT_LENGTH = 8000

/**
 * Yields documents of about 8,000 characters, which consist of whole entries. An entry begins after a blank line, at
 * the margin.
 */
export function* dictionaryTexts(source: string): Generator<string> {
  let start = 0
  for (const { index, 0: gap } of source.matchAll(/\n(?:[ \t\r]*\n)+/g)) {
    const end = index + gap.length
    // The expression does not test this, since it would then look for a shorter gap in a long one.
    const isAtMargin = /\S/.test(source[end] ?? '')
    if (!isAtMargin || end - start < DOCUMENT_LENGTH) continue
    yield withoutBraces(source.slice(start, end))
    start = end
  }
  if (start < source.length) yield withoutBraces(source.slice(start))
}

/** Braces mark words that have entries of their own. */
const withoutBraces = (text: string): string => text.replace(/\{([^{}]*)\}/g, '$1')
