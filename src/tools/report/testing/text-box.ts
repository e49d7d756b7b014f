/** Bounding boxes of the texts of a figure, which tests use to check that texts are inside it and do not overlap. */
import { textWidth } from '../figures/text.ts'
import type { ParsedElement } from './parse-xml.ts'

/** Estimated bounding box of a text: left, top, right, bottom. */
export function boxOf({ attributes, text }: ParsedElement): [number, number, number, number] {
  const classes = attributes.class ?? ''
  const size = /small|note/.test(classes) ? 11 : 12
  const width = textWidth(text, size) * (/label|over/.test(classes) ? 1.1 : 1)
  const [x, y] = [Number(attributes.x), Number(attributes.y)]
  const left = x - width * ({ middle: 0.5, end: 1 }[attributes['text-anchor'] ?? ''] ?? 0)
  if (attributes.transform === undefined) return [left, y - size, left + width, y + 3]
  // Names of columns are rotated by 45 degrees and end at their position.
  return [x - width * Math.SQRT1_2 - 2, y - size, x + 6, y + width * Math.SQRT1_2 + 2]
}

/** The horizontal texts of a figure that are not inside the edges of its view box, with their estimated boxes. */
export function textsOutside(elements: readonly ParsedElement[]): string[] {
  const [left = 0, top = 0, width = 0, height = 0] = (elements[0]?.attributes.viewBox ?? '').split(' ').map(Number)
  const texts = elements.filter(({ name, attributes }) => name === 'text' && !attributes.transform)
  return texts.flatMap((element) => {
    const box = boxOf(element)
    const isInside = box[0] >= left && box[1] >= top && box[2] <= left + width && box[3] <= top + height
    return isInside ? [] : [`${element.text} at ${box.map(Math.round).join(' ')}`]
  })
}
