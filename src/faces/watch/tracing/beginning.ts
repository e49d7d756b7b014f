/**
 * The beginning of a text that is at most so long, cut after its last whole sentence, or else after its last word. It is
 * one paragraph: white space becomes one space.
 */
export function beginningOf(text: string, most: number): string {
  const flat = text.replaceAll('\ufffd', '').replace(/\s+/g, ' ').trim()
  if (flat.length <= most) return flat
  const start = flat.slice(0, most)
  const sentences = /^.*[.!?]["'”’)]?(?= )/s.exec(start)?.[0]
  if (sentences !== undefined && sentences.length >= most / 3) return sentences
  const words = /^.*\S(?= )/s.exec(start)?.[0]
  // A surrogate pair must not be cut in half.
  return words ?? start.replace(/[\ud800-\udbff]$/, '')
}
