/** Dictionaries of dictd: thousands of short entries in one file, in alphabetical order. */

/** Length from which on a document of entries is complete, in characters. */
const DOCUMENT_LENGTH = 8000

/** Entries in documents of about 8,000 characters. An entry begins after a blank line, at the margin. */
export function dictionaryTexts(source: string): string[] {
  const documents: string[] = []
  let document = ''
  for (const entry of source.replace(/\r\n?/g, '\n').split(/\n(?:[ \t]*\n)+(?=\S)/)) {
    document += `${entry}\n\n`
    if (document.length < DOCUMENT_LENGTH) continue
    documents.push(document)
    document = ''
  }
  if (document.trim() !== '') documents.push(document)
  // Braces mark words that have entries of their own.
  return documents.map((text) => text.replace(/\{([^{}]*)\}/g, '$1'))
}
