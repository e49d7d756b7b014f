import { expect, test } from 'vitest'
import { Repeats } from './repeats.ts'

const paragraph = (name: string): string =>
  `${name}: a paragraph that is long enough to be compared with those of other documents, about ${name}.`
const text = (...names: string[]): string => names.map((name) => `${paragraph(name)}\n`).join('\n')

test('a document that occurred before is a duplicate; a document that is mostly in earlier ones is a copy', () => {
  const repeats = new Repeats()
  expect(repeats.distinct(text('a', 'b', 'c'), 80)).toEqual({ text: text('a', 'b', 'c'), isCut: false })
  expect(repeats.distinct(text('a', 'b', 'c'), 80)).toEqual({ reason: 'duplicate' })
  expect(repeats.distinct(text('x', 'a', 'b'), 80)).toEqual({ reason: 'copied' })
  // Other white space and punctuation do not make another paragraph.
  expect(repeats.distinct(text('a', 'b').replaceAll(' ', '\n  * '), 80)).toEqual({ reason: 'copied' })
  // Paragraphs of a document that is left out are not known.
  expect(repeats.distinct(text('x', 'y'), 80).text).toBe(text('x', 'y'))
})

test('a paragraph stays in its first four documents, and later documents keep their other paragraphs', () => {
  const repeats = new Repeats()
  const results = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) =>
    repeats.distinct(text('shared', `${name}1`, `${name}2`), 80),
  )
  expect(results).toMatchObject([false, false, false, false, true, true].map((isCut) => ({ isCut })))
  expect(results[3]?.text).toBe(text('shared', 'd1', 'd2'))
  expect(results[4]?.text).toBe(text('e1', 'e2'))
})

test('a short paragraph stays in all documents, and a paragraph that a document repeats counts once', () => {
  const repeats = new Repeats()
  const short = 'int main(void) { return initialise(argument, 0); }\n'
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const document = `${short}\n${text(`${name}1`, `${name}2`)}`
    expect(repeats.distinct(document, 80).text).toBe(document)
  }
  const other = new Repeats()
  expect(other.distinct(text(...Array(9).fill('a')), 80)).toMatchObject({ isCut: false })
  expect(other.distinct(text('a', 'b', 'c'), 80)).toMatchObject({ isCut: false })
})

test('the borders of a comment separate paragraphs: a licence goes, the code after it stays', () => {
  const repeats = new Repeats()
  const licence = ` * ${paragraph('This program is free software')}\n`
  const file = (name: string): string =>
    `/*\n${licence} */\n\n${paragraph(`${name}1`)}\n{\n${paragraph(`${name}2`)}\n}\n`
  const results = ['a', 'b', 'c', 'd', 'e'].map((name) => repeats.distinct(file(name), 80).text)
  expect(results[3]).toBe(file('d'))
  expect(results[4]).not.toContain('free software')
  expect(results[4]).toContain(`${paragraph('e1')}\n{\n${paragraph('e2')}\n}\n`)
})
